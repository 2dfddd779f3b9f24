"""The request for a run, and its checks."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from edgec.errors import EdgecError, RequestError
from edgec.frames import Crop, Reading
from edgec.model.spec import Size
from edgec.onboard.ring import BOUNDS, Bounds
from edgec.paths import is_special, usable_path
from edgec.records.reading import printable

FASTEST_FPS = 1000.0
FILMS = frozenset({".mp4", ".m4v", ".mov", ".mkv"})
ARCHIVE = ".npz"


@dataclass(frozen=True)
class RunRequest:
    """What `edgec run` is to do. `output` is a film if its suffix is one of `FILMS`, else a folder of pictures; `features` an
    `.npz` file or else a folder of them. `show` names outputs to draw; empty means all. `fps` plays files on a camera's clock;
    `reading` says what bags and raw dumps do not. `drift_frames` is the folder for frames that are unlike the calibration frames,
    within `drift_bounds`; none are kept without it."""

    artefact: Path
    source: str
    size: Size | None = None
    crop: Crop = "centre"
    threads: int | None = None
    every: int = 1
    limit: int | None = None
    fps: float | None = None
    features: Path | None = None
    output: Path | None = None
    show: tuple[str, ...] = ()
    force: bool = False
    reading: Reading = field(default_factory=Reading)
    drift_frames: Path | None = None
    drift_bounds: Bounds = BOUNDS


def check(request: RunRequest) -> None:
    """Check a request before anything is opened. Raises `RequestError` for values that make no sense and `EdgecError` for files
    that are in the way."""
    if request.fps is not None and not (math.isfinite(request.fps) and 0 < request.fps <= FASTEST_FPS):
        raise RequestError(
            f"--fps {request.fps:g} makes no sense.", remedy=f"give more than 0 and at most {FASTEST_FPS:g} frames a second"
        )
    if request.show and request.output is None:
        raise RequestError("--show says what to draw, but not where.", remedy="add --output FILE.mp4 or --output FOLDER")
    paths = [path for path in (request.features, request.output) if path is not None]
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise RequestError("--features and --output have the same path.", remedy="give each a path of its own")
    for path in paths:
        _check_path(path, request)
    if request.drift_frames is not None:
        _check_place(request.drift_frames, Path(os.path.realpath(request.drift_frames)), request)


def is_film(path: Path) -> bool:
    """Whether a path is that of a video, by its suffix."""
    return path.suffix.lower() in FILMS


def is_archive(path: Path) -> bool:
    """Whether a path is that of a single file of features, by its suffix."""
    return path.suffix.lower() == ARCHIVE


def _check_path(path: Path, request: RunRequest) -> None:
    real_path = Path(os.path.realpath(path))
    _check_place(path, real_path, request)
    archive = path == request.features
    if is_archive(path) if archive else is_film(path):
        _check_file(path, real_path, request.force)
    else:
        _check_folder(path, real_path, request.force, ARCHIVE if archive else ", ".join(sorted(FILMS)))


def _check_place(path: Path, real_path: Path, request: RunRequest) -> None:
    artefact, source = Path(os.path.realpath(request.artefact)), Path(os.path.realpath(usable_path(request.source, "SOURCE")))
    if real_path == artefact or artefact in real_path.parents:
        raise RequestError(
            f"{printable(str(path))} is inside the artefact, which would no longer be what its manifest says.",
            remedy="choose another path",
        )
    if real_path == source:
        raise RequestError(f"{printable(str(path))} is the source itself.", remedy="choose another path")


def _check_file(path: Path, real_path: Path, force: bool) -> None:
    if real_path.is_dir():
        raise EdgecError(f"{printable(str(path))} is a folder.", remedy="choose a file's name, or a folder without a suffix")
    if is_special(real_path):
        raise EdgecError(f"{printable(str(path))} is a device, a pipe or a socket.", remedy="choose another path")
    if os.path.lexists(real_path) and not force:
        raise EdgecError(f"{printable(str(path))} exists already.", remedy="choose another path, or replace it with --force")
    if not real_path.parent.is_dir():
        raise _unwritable(path, f"there is no folder {printable(str(real_path.parent))}")
    _check_writable(path, real_path.parent)


def _check_folder(path: Path, real_path: Path, force: bool, single: str) -> None:
    if os.path.lexists(real_path) and not real_path.is_dir():
        raise EdgecError(
            f"{printable(str(path))} exists and is not a folder.",
            evidence=f"a single file ends in {single}",
            remedy="choose another path",
        )
    nearest = next(above for above in (real_path, *real_path.parents) if os.path.lexists(above))
    if not nearest.is_dir():
        raise _unwritable(path, f"{printable(str(nearest))} is not a folder")
    _check_writable(path, nearest)
    if nearest == real_path and not force and any(not each.name.startswith(".") for each in real_path.iterdir()):
        raise EdgecError(
            f"{printable(str(path))} exists already and is not empty.",
            remedy="choose another path, or write into it with --force: files of the same names are replaced, others stay",
        )


def _check_writable(path: Path, folder: Path) -> None:
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise _unwritable(path, f"{printable(str(folder))} is not writable")


def _unwritable(path: Path, reason: str) -> EdgecError:
    return EdgecError(f"{printable(str(path))} cannot be written.", evidence=reason, remedy="choose another path")
