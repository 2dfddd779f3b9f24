"""How large a page of 50 reports is, and how long Chromium takes to open it. `python -m benchmarks.page A [B…]`

Reports, artefacts or folders are repeated until there are 50. Loading is timed by the browser itself, to the end of the load
event, and from outside until the first chart stands.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from edgec.cli.pages import subjects
from edgec.report.html.page import render

REPORTS, TIMES = 50, 5


def main(paths: list[Path]) -> None:
    """Prints the page's size, and the times."""
    from playwright.sync_api import sync_playwright

    pages = subjects(paths)
    many = [pages[number % len(pages)] for number in range(REPORTS)]
    begin = time.perf_counter()
    page = render(many)
    seconds = time.perf_counter() - begin
    print(f"{len(many)} reports: {len(page.encode()) / 1e6:.2f} MB, made in {seconds:.1f} s")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        loaded, drawn = [], []
        for _ in range(TIMES):
            tab = browser.new_context().new_page()
            begin = time.perf_counter()
            tab.goto(file.as_uri())
            loaded.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"))
            tab.locator(".chart svg").first.wait_for()
            drawn.append(time.perf_counter() - begin)
            tab.context.close()
        browser.close()
    print(f"load event: median {statistics.median(loaded):.2f} s, most {max(loaded):.2f} s, of {TIMES}")
    print(f"first chart: median {statistics.median(drawn):.2f} s, most {max(drawn):.2f} s")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
