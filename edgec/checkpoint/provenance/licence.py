"""The licence of weights, and the texts that must be passed on with them."""

from __future__ import annotations

import re
from pathlib import Path

from edgec.checkpoint.location.source import read_text
from edgec.checkpoint.provenance.published import Published
from edgec.checkpoint.statements import Statements
from edgec.checkpoint.types import Finding, Licence
from edgec.text import shown

DINOV3 = ("DINOv3 License", "LicenseRef-DINOv3")
DINOV3_NOTICE = """\
These weights, or the weights that they were made from, are Meta's DINOv3 and come under the DINOv3 License of 2025-08-19.
Whoever passes them or anything derived from them on must do so under that agreement and provide a copy of it.
The agreement's text was not beside the checkpoint that this was built from. It is LICENSE.md in Meta's repository
facebookresearch/dinov3: put a copy beside this file before you pass it on.
"""
_META = re.compile(r"facebook(--|/)dinov3|lvd1689m|sat493m|dinov3_\w+_pretrain_\w+")
_KNOWN = (
    (re.compile(r"DINOv3 License"), DINOV3),
    (re.compile(r"Apache License,?\s+Version 2\.0|Apache-2\.0"), ("Apache License 2.0", "Apache-2.0")),
    (re.compile(r"\bMIT License\b|Permission is hereby granted, free of charge"), ("MIT License", "MIT")),
    (re.compile(r"Attribution-NonCommercial 4\.0"), ("CC BY-NC 4.0", "CC-BY-NC-4.0")),
)
RANDOM = Licence("none", "NONE", "random numbers, nobody's work")


def licence(
    labels: tuple[str, ...],
    statements: Statements,
    paths: tuple[Path, ...],
    published: Published | None,
    findings: list[Finding],
) -> Licence:
    """The DINOv3 License if names or hashes say that the weights are Meta's; else what `paths`, the LICENSE and NOTICE files next
    to the checkpoint, say.

    Adds a warning if the agreement's text is missing, if two statements contradict each other, or if there is none.
    """
    notice = "\n".join(read_text(path) for path in paths if path.name.upper().startswith("NOTICE"))
    text = "\n".join(read_text(path) for path in paths if not path.name.upper().startswith("NOTICE"))
    stated = next((known for pattern, known in _KNOWN if pattern.search(text) or pattern.search(notice)), None)
    files = ", ".join(path.name for path in paths)
    meta = _why_meta(labels, statements, published)
    if meta:
        if stated not in (None, DINOV3):
            findings.append(Finding("warning", f"licence: {files} says otherwise, but {meta}: the DINOv3 License is assumed"))
        if not _KNOWN[0][0].search(text):
            findings.append(
                Finding(
                    "warning",
                    "the licence text is not next to the checkpoint: put LICENSE.md there before you pass the artefact on",
                )
            )
            text = DINOV3_NOTICE
        return Licence(*DINOV3, meta, text, notice)
    if stated is not None:
        return Licence(*stated, f"{files} beside the checkpoint says so", text, notice)
    if paths:
        return Licence("a licence of its own", "LicenseRef-Checkpoint", f"see {files} beside the checkpoint", text, notice)
    findings.append(
        Finding("warning", "licence unknown: nothing beside the checkpoint says it; find out before you pass the artefact on")
    )
    return Licence("unknown", "NOASSERTION", "nothing beside the checkpoint says it")


def _why_meta(labels: tuple[str, ...], statements: Statements, published: Published | None) -> str:
    """Why these are taken for Meta's weights, or for ones made from them; empty if nothing says so."""
    if published is not None:
        return f"its SHA-256 is that of Meta's {published.name}"
    for label in labels:
        if _META.search(label.lower()):
            return f"{shown(label, 80)} is a name of Meta's weights"
    for origin in statements.about("origin"):
        if _META.search(str(origin.value).lower()):
            return f"{origin.where} names {shown(origin.value, 80)}"
    for stated in statements.about("licence"):
        if stated.value == "dinov3-license":
            return f"{stated.where} says dinov3-license"
    return ""
