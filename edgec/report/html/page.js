"use strict";
/* Draws charts when they come into view, filters, and sorts. Everything that it shows is set as text, never as HTML. */
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.getElementById("filters");
  const rate = document.getElementById("rate");
  const overview = document.getElementById("overview-table");
  const rows = all("tbody tr", overview);
  /* Columns that are the same in all rows are not in the table, but are searched. */
  const texts = rows.map((row, i) => [...[...row.cells].map((cell) => cell.textContent), ...Object.values(page.rows[i]).flat()].join(" ").toLowerCase());
  let visible = new Set(rows.keys());

  /* Columns of values, as they travel, to the rows that Vega takes. */
  function expanded(columns) {
    const names = Object.keys(columns);
    return names.length ? columns[names[0]].map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]]))) : [];
  }

  function datasets(chart, width) {
    const found = Object.fromEntries(Object.entries(chart.data).map(([name, columns]) => [name, expanded(columns)]));
    if (found.points?.length && "row" in found.points[0]) found.points = found.points.filter((point) => visible.has(point.row));
    if ("deadline" in found) Object.assign(found, deadline(found, chart.batch || 1));
    if ("points" in found) place(found, width, chart.logarithmic);
    return found;
  }

  const NEAR = 2.5;
  /* The camera's deadline as a line among the times; so far from them that they would shrink to nothing, it is said in words. */
  function deadline({ shares = [], samples = [], bins = [], points = [] }, batch) {
    const hz = Number(rate.value), ms = (1000 * batch) / hz;
    const times = [...shares.map((each) => each.ms), ...samples.map((each) => each.ms), ...bins.flatMap((each) => [each.low, each.high]), ...points.flatMap((each) => [each.p50, each.p90])];
    const text = `${hz} Hz: ${ms.toFixed(1)} ms`;
    const low = times.reduce((a, b) => Math.min(a, b), Infinity), high = times.reduce((a, b) => Math.max(a, b), 0);
    if (ms > NEAR * high) return { deadline: [], beyond: [{ text: `${text}, beyond this chart` }] };
    if (ms < low / NEAR) return { deadline: [], beyond: [{ text: `${text}: all are slower` }] };
    const before = ms <= (low + high) / 2;
    return { deadline: [{ ms, text, align: before ? "left" : "right", dx: before ? 4 : -4 }], beyond: [] };
  }

  /* Where the points' labels go: beside their point, where they cover neither a point nor another label. One that finds no place
     joins the label next to it; its figures are in the table, under that number. */
  function place({ points, front = [], budget = [], deadline = [] }, width, logarithmic) {
    const HEIGHT = 340, PADDING = 18, AXIS = 62, LETTER = 6.4, LINE = 12, RADIUS = 7;
    const flat = (value) => Math.log(Math.max(value, 1e-12));
    const scaled = (values, of, length) => {
      const [low, high] = [Math.min(...values.map(of)), Math.max(...values.map(of))];
      return (value) => PADDING + (high > low ? (of(value) - low) / (high - low) : 0.5) * (length - 2 * PADDING);
    };
    const x = scaled([...points.flatMap((p) => [p.p50, p.p90]), ...front.map((p) => p.p50), ...deadline.map((each) => each.ms)], logarithmic ? flat : (v) => v, width - AXIS);
    const y = scaled([...points, ...front, ...budget].map((p) => p.kept), (v) => v, HEIGHT);
    const at = points.map((p) => [x(p.p50), HEIGHT - y(p.kept)]);
    const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    const dots = at.map(([left, top]) => [left - RADIUS, top - RADIUS, left + RADIUS, top + RADIUS]);
    const placed = [];
    points.forEach((point, i) => {
      Object.assign(point, { dx: 0, dy: 0, align: "left", full: point.label });
      const size = LETTER * point.label.length;
      const tries = [[9, -9], [9, 9], [-9, -9], [-9, 9], [0, -15], [0, 15], [14, 0], [-14, 0]].map(([dx, dy]) => {
        const left = at[i][0] + dx - (dx < 0 ? size : dx === 0 ? size / 2 : 0);
        const top = at[i][1] + dy - LINE / 2;
        return { dx, dy, align: dx < 0 ? "right" : dx === 0 ? "center" : "left", box: [left, top, left + size, top + LINE] };
      });
      const inside = ({ box }) => box[0] >= 0 && box[2] <= width - AXIS && box[1] >= 0 && box[3] <= HEIGHT;
      const free = tries.find((each) => inside(each) && !dots.some((dot) => meets(dot, each.box)) && !placed.some((other) => meets(other.box, each.box)));
      if (free) {
        Object.assign(point, { dx: free.dx, dy: free.dy, align: free.align });
        placed.push({ point, box: free.box, all: [point.label], at: at[i] });
        return;
      }
      const far = (other) => Math.hypot(other.at[0] - at[i][0], other.at[1] - at[i][1]);
      const near = placed.filter((other) => far(other) < 40).sort((a, b) => far(a) - far(b))[0];
      if (near) near.all.push(point.label);
      point.label = "";
    });
    placed.forEach((each) => {
      if (each.all.length > 1) each.point.label = each.all.slice(0, 3).join(", ") + (each.all.length > 3 ? ` +${each.all.length - 3}` : "");
    });
  }

  const views = new Map();
  const PAPER = 760;
  /* The width of charts that are drawn before they are seen, for paper. */

  function draw(element) {
    const chart = page.charts[element.dataset.chart];
    if (!chart) return Promise.resolve();
    views.get(element)?.finalize();
    const width = element.clientWidth || PAPER;
    const spec = { ...page.specs[chart.spec], datasets: datasets(chart, width) };
    if (chart.height) spec.height = chart.height;
    if (!element.clientWidth) spec.width = width;
    if (width < 480) {
      spec.config = { ...spec.config, axis: { ...spec.config.axis, titleFontSize: 10 },
        legend: { ...spec.config.legend, columns: 2, labelLimit: 130, layout: { bottom: { anchor: "start", direction: "vertical" } } } };
    }
    element.dataset.drawn = "yes";
    return vegaEmbed(element, spec, { mode: "vega-lite", renderer: "svg", actions: false, ast: true, logLevel: 1 })
      .then((result) => {
        views.set(element, result.view);
        element.dataset.drawn = "done";
      })
      .catch((error) => {
        element.dataset.drawn = "failed";
        element.textContent = "This chart could not be drawn; its figures are in the table.";
        console.error(element.dataset.chart, error);
      });
  }

  const shown = (element) => element.getClientRects().length > 0;
  const coming = new IntersectionObserver(
    (entries) => entries.forEach(({ isIntersecting, target }) => {
      if (isIntersecting && shown(target)) {
        coming.unobserve(target);
        draw(target);
      }
    }),
    { rootMargin: "300px" },
  );
  const charts = all(".chart");
  charts.forEach((element) => coming.observe(element));

  function again(wanted) {
    charts.filter((element) => element.dataset.drawn && wanted(page.charts[element.dataset.chart])).forEach(draw);
  }

  /* Filters. */
  const facets = all("[data-facet]", form);
  const valuesOf = (row, facet) => [].concat(row[facet]).map(String);
  facets.forEach((control) => {
    const facet = control.dataset.facet;
    if (facet === "text" || facet === "chosen") return;
    const values = new Set(page.rows.flatMap((row) => valuesOf(row, facet)).filter((value) => value !== "-"));
    [...values].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).forEach((value) => control.add(new Option(value, value)));
    control.disabled = values.size < 2;
  });

  function filter() {
    const wanted = facets.filter((control) => control.value.trim() !== "");
    const passes = (row, i) => wanted.every((control) => {
      const facet = control.dataset.facet;
      if (facet === "text") return control.value.toLowerCase().trim().split(/\s+/).every((word) => texts[i].includes(word));
      return valuesOf(row, facet).includes(control.value);
    });
    visible = new Set(page.rows.flatMap((row, i) => (passes(row, i) ? [i] : [])));
    rows.forEach((row, i) => { row.hidden = !visible.has(i); });
    const reports = new Set([...visible].map((i) => page.rows[i].report));
    all(".report, .card").forEach((part) => { part.hidden = !reports.has(Number(part.dataset.report)); });
    const total = new Set(page.rows.map((row) => row.report)).size;
    document.getElementById("count").textContent =
      `${visible.size} of ${rows.length} candidates, ${reports.size} of ${total} report${total > 1 ? "s" : ""}`;
    again((chart) => "row" in (chart.data.points || {}));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => { if (event.target.dataset.facet) filter(); });
  form.addEventListener("reset", () => setTimeout(filter, 0));
  rate.addEventListener("change", () => {
    again((chart) => "deadline" in chart.data);
    all(".keeps").forEach((element) => {
      const [verdict, why] = JSON.parse(element.dataset.verdicts)[rate.value];
      element.className = `keeps ${verdict.replace(" ", "-")}`;
      element.querySelector(".hz").textContent = rate.value;
      element.querySelector(".verdict").textContent = verdict;
      element.querySelector(".why").textContent = why;
    });
  });

  /* Tables that are wider than their place say so. */
  const wide = new ResizeObserver((entries) => entries.forEach(({ target }) => scrolls(target)));
  function scrolls(box) {
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft > 4;
    box.classList.toggle("scrolls", left);
    box.nextElementSibling.hidden = !left;
  }
  all(".wide").forEach((box) => { wide.observe(box); box.addEventListener("scroll", () => scrolls(box), { passive: true }); });

  /* Sorting: by number where the column is one, what is absent last. */
  const number = (text) => { const found = /-?\d+(\.\d+)?(e[-+]?\d+)?/i.exec(text); return found ? Number(found[0]) : NaN; };
  all("th").forEach((head) => head.addEventListener("click", () => {
    const table = head.closest("table");
    const up = head.getAttribute("aria-sort") !== "ascending";
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const numeric = head.classList.contains("number");
    const keyed = all("tbody tr", table).map((row) => {
      const text = row.cells[head.cellIndex].textContent;
      return { row, key: numeric ? number(text) : text };
    });
    const absent = ({ key }) => (numeric ? Number.isNaN(key) : key === "-");
    keyed.sort((a, b) => absent(a) - absent(b)
      || (absent(a) ? 0 : (up ? 1 : -1) * (numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true }))));
    table.tBodies[0].append(...keyed.map(({ row }) => row));
  }));

  /* The candidate whose samples are drawn. */
  all(".pick").forEach((pick) => pick.addEventListener("change", () => {
    all(".sample", pick.closest(".sampled")).forEach((sample, i) => {
      sample.hidden = i !== Number(pick.value);
      if (!sample.hidden) all(".chart", sample).forEach((chart) => { coming.unobserve(chart); coming.observe(chart); });
    });
  }));

  const unfold = document.getElementById("unfold");
  unfold.addEventListener("click", () => {
    const folded = all("details.report").some((part) => !part.open);
    all("details.report").forEach((part) => { part.open = folded; });
    unfold.textContent = folded ? "Fold all" : "Unfold all";
  });

  /* A link opens what it leads to. */
  function opened() {
    const part = document.getElementById(location.hash.slice(1))?.closest("details");
    if (part) part.open = true;
  }
  window.addEventListener("hashchange", opened);
  opened();

  /* Print shows each report's first part: what is folded is opened. Charts cannot be drawn while a page is printed, so those of
     the first reports are drawn when nothing else is to be done, at paper's width; and again once they are seen. */
  const brief = all(".brief .chart").slice(0, 12);
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 200));
  const early = () => idle(() => {
    const next = brief.find((element) => !element.dataset.drawn && element.closest("details:not([open])"));
    if (next) draw(next).then(early);
  }, { timeout: 1000 });
  window.addEventListener("load", early);
  all("details.report").forEach((part) => part.addEventListener("toggle", () => {
    if (part.open && !printing) all(".brief .chart", part).filter((element) => element.dataset.drawn).forEach((element) => { coming.unobserve(element); draw(element); });
  }));
  let folded = [], printing = false;
  window.addEventListener("beforeprint", () => {
    printing = true;
    folded = all("details.report").filter((part) => !part.open);
    folded.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => {
    folded.forEach((part) => { part.open = false; });
    setTimeout(() => { printing = false; }, 0);
  });

  filter();
})();
