"""What the words mean that edgec prints: for `edgec glossary`, docs/glossary.md and pages alike."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

_WIDTH = 130


@dataclass(frozen=True)
class Term:
    """A word, what it means, and other names of the same thing: column titles, and names that files and older versions have."""

    name: str
    text: str
    others: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Its place on a page."""
        return "word-" + "".join(each if each.isalnum() else "-" for each in self.name.lower())


TERMS: Final = (
    Term(
        "fidelity",
        "How much of the float32 PyTorch model's features is kept: the lowest of three cosines (cls, patches, and the "
        "worst 1 % of patches) on frames that calibration never saw. 1 is everything. `--min-fidelity` bounds it. A model "
        "without features has that of its worst head. It is rounded down wherever it is shown.",
        ("worst cosine", "worst_cosine"),
    ),
    Term(
        "cls",
        "The mean cosine of the CLS token, which stands for the whole frame.",
        ("cls mean", "cls_cosine_mean"),
    ),
    Term(
        "patches",
        "The mean cosine of the patch features, a patch a square of the frame.",
        ("patch mean", "patch_cosine_mean"),
    ),
    Term(
        "worst 1 %",
        "The cosine that 99 of 100 patches reach: the first percentile over all patches of all frames. A corner of the "
        "frame that is lost shows here, and in no mean.",
        ("worst 1 % of patches", "patch p01", "patch_cosine_p01", "worst1%"),
    ),
    Term(
        "elsewhere",
        "The lowest fidelity on frames of other places, and on what may befall a camera (dark, bright, blurred, noisy, black "
        "frames and so on), of which calibration's own scene says nothing. `--min-fidelity-elsewhere` bounds it.",
        ("fidelity elsewhere",),
    ),
    Term(
        "budget",
        "The least fidelity, and the most that heads may lose, with which a candidate may still ship.",
    ),
    Term(
        "candidate",
        "One way to run the model: a runtime, a precision, and which operations are exceptions. A build tries several.",
    ),
    Term(
        "ships",
        "What a build chose of its candidates, and wrote into the artefact.",
        ("chosen",),
    ),
    Term(
        "all but the last K",
        "int8, except for the last K products that add to the residual stream, which stay in the other type (fp32, bf16 "
        "or fp16): what these lose arrives in the features as it is. Candidates are named so, as in `openvino-int8-but- "
        "last-6`.",
        ("but-last-K",),
    ),
    Term(
        "p50",
        "The median: half of the runs took no longer.",
        ("p50 ms",),
    ),
    Term(
        "p99",
        "What 99 of 100 runs took at most. Of fewer than 100 runs it would be the longest of them, and is not shown; "
        "`max` is. JSON has the number always.",
        ("p99 ms",),
    ),
    Term(
        "frames/s",
        "Frames a second at the median, one batch after another: no camera, no waiting.",
        ("frames a second",),
    ),
    Term(
        "30 Hz: yes, no, not known",
        "Whether 99 of 100 batches are done within the time between two frames of such a camera (33.3 ms a frame), "
        "measured on what the target promises. Not known: not measured there, or measured under load and too long. Data "
        "sheets can say no, never yes.",
        ("keeps up",),
    ),
    Term(
        "measured under load",
        "Other work took cores that the run needed, or the board was throttled: the times may be too long. Measure again alone.",
    ),
    Term(
        "evidence",
        "Where a figure comes from: measured on target or on host, compiled, emulated or simulated on the host, or "
        "estimated from data sheets.",
    ),
    Term(
        "time ratio",
        "The second side's time over the first's: 0.5 is half the time, twice as fast. With its 95 % interval.",
        ("ratio",),
    ),
    Term(
        "would notice",
        "The smallest slowdown that as many and as steady runs as these show four times out of five. A smaller one may be "
        "hidden.",
        ("could show",),
    ),
    Term(
        "not judged",
        "There is no verdict: too few runs, other work on the machine, or a throttled board. The sentence says which, and "
        "what to type.",
        ("not told",),
    ),
    Term(
        "reference work",
        "Products of matrices, always the same, that `edgec bench` runs in turn with the model. They show how fast the "
        "machine itself was, which `edgec compare` takes out of its ratios. Reports call the entry `yardstick`.",
        ("yardstick", "reference work ms"),
    ),
    Term(
        "p50 ms at equal machine speed",
        "The medians that the time ratio is of, once the machine's own speed is taken out by the reference work.",
    ),
    Term(
        "simulates",
        "The target's arithmetic is computed by another runtime on the machine that builds: its values count, its times do not.",
        ("imitates", "simulated on host"),
    ),
    Term(
        "head",
        "What turns features into an answer: a class, a mask, a depth map, a vector.",
    ),
    Term(
        "bound",
        "The least time that a board could take, from data sheets: no latency to expect.",
        ("bound ms",),
    ),
)


def find(word: str) -> Term | None:
    """The term of that name, or with that other name."""
    wanted = " ".join(word.lower().split())
    return next((term for term in TERMS if wanted in map(str.lower, (term.name, *term.others))), None)


def to_markdown() -> str:
    """The page of the documentation."""
    lines = ["# Glossary", "", "What the words mean that edgec prints; `edgec glossary [WORD]` prints this in a terminal.", ""]
    for term in TERMS:
        others = f" (also: {', '.join(f'`{each}`' for each in term.others)})" if term.others else ""
        text = textwrap.wrap(term.text, _WIDTH, initial_indent=":   ", subsequent_indent="    ", break_on_hyphens=False)
        lines += [f"**{term.name}**{others}", *text, ""]
    return "\n".join(lines).rstrip() + "\n"
