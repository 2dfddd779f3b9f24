"""Meta's published backbones, by the first eight digits of their files' SHA-256, which end the files' names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgec.checkpoint.types import Finding


@dataclass(frozen=True)
class Published:
    """One of Meta's published files: the model's name, and the set that it was trained on (`lvd1689m` or `sat493m`)."""

    name: str
    trained_on: str


_FILES = {
    "08c60483": Published("dinov3_vits16", "lvd1689m"),
    "4057cbaa": Published("dinov3_vits16plus", "lvd1689m"),
    "73cec8be": Published("dinov3_vitb16", "lvd1689m"),
    "8aa4cbdd": Published("dinov3_vitl16", "lvd1689m"),
    "eadcf0ff": Published("dinov3_vitl16", "sat493m"),
    "7c1da9a5": Published("dinov3_vith16plus", "lvd1689m"),
    "21b726bb": Published("dinov3_convnext_tiny", "lvd1689m"),
    "296db49d": Published("dinov3_convnext_small", "lvd1689m"),
    "801f2ba9": Published("dinov3_convnext_base", "lvd1689m"),
    "61fa432d": Published("dinov3_convnext_large", "lvd1689m"),
}
_HASHED = re.compile(r"-([0-9a-f]{8})\.[a-z]+$")


def published(sha256: str) -> Published | None:
    """Meta's file with this SHA-256; None if there is none."""
    return _FILES.get(sha256[:8])


def check_hashed_name(file_name: str, sha256: str) -> Finding | None:
    """A warning if a file's name ends in eight digits of another hash than its own."""
    stated = _HASHED.search(file_name)
    if stated is None or sha256.startswith(stated.group(1)):
        return None
    return Finding("warning", f"the name says {stated.group(1)}, the file is {sha256[:8]}: damaged or edited")
