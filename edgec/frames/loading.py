"""What a user calls a calibration set → a `FrameSet`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from edgec.errors import CalibrationError
from edgec.frames import manifest as manifests
from edgec.frames.collecting import Collection, File, files_in, frames_at, is_frame_file, name_of, places
from edgec.frames.noise import random_set
from edgec.frames.types import Frame, FrameSet, Skipped
from edgec.frames.video import Projector
from edgec.resources import room

_SHOWN = 10


def load(reference: str) -> FrameSet:
    """The set that `reference` means.

    `random` or `random:N`: noise. A bare name that edgec ships (`demo`): that set; write `./demo` for a folder of that name.
    Else a path: a folder, searched whole; a video; a list (`.txt`, a path a line, relative to the list); a manifest (`.toml`).

    Every file's header is checked and its bytes are hashed; nothing is decoded but each video's first frame. What cannot be used
    is in `skipped`, with the reason; what turns out damaged only when decoded, `split` and `batches` report.
    Raises `CalibrationError` if there is no such set, or not one frame in it.
    """
    if reference == "random" or reference.startswith("random:"):
        return random_set(reference)
    try:
        path = _shipped(reference) or Path(reference).expanduser()
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, RuntimeError) as error:
        raise CalibrationError(f"The calibration set {reference} cannot be opened.", evidence=str(error)) from error
    if not exists:
        raise CalibrationError(
            f"There is no calibration set {reference!r}.",
            evidence=f"looked for {path.absolute()}, and among the sets that edgec ships: {', '.join(shipped())}",
            remedy="give a folder of pictures, a video, a list of paths (.txt), a manifest (.toml) or the name of a shipped set",
        )
    suffix = path.suffix.lower()
    if not is_folder and suffix == ".toml":
        return _from_manifest(path)
    if not is_folder and suffix != ".txt" and not is_frame_file(path):
        raise CalibrationError(
            f"{reference} is not a calibration set.",
            evidence=f"a file with the suffix {path.suffix!r}",
            remedy="give a folder of pictures, a video, a list of paths (.txt) or a manifest (.toml)",
        )
    skipped: list[Skipped] = []
    if is_folder:
        files = files_in(path, path, skipped)
    elif suffix == ".txt":
        files = _listed(path, skipped)
    else:
        files = [File(path, name_of(path, path.parent))]
    collection = frames_at(places(files, None, skipped), Projector())
    collection.skipped[:0] = skipped
    return _checked(FrameSet(path.resolve().name, _content_hash(collection.frames, {}), *_parts(collection)), str(path))


def shipped() -> list[str]:
    """Names of the sets in edgec's own `calibration` room."""
    return sorted(path.stem for path in room("calibration").glob("*.toml"))


def _shipped(reference: str) -> Path | None:
    return room("calibration") / f"{reference}.toml" if reference in shipped() else None


def _listed(path: Path, skipped: list[Skipped]) -> list[File]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"The list {path} cannot be read.", evidence=str(error)) from error
    files: dict[str, File] = {}
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        entry = path.parent / Path(line).expanduser()
        if entry.is_dir():
            named = files_in(entry, path.parent, skipped)
        elif is_frame_file(entry):
            named = [File(entry, name_of(entry, path.parent))]
        else:
            skipped.append(
                (line, "neither a picture nor a video, by its suffix" if entry.exists() else "no such file or directory")
            )
            continue
        for file in named:
            if file.name in files:
                skipped.append((line, "listed twice"))
            files.setdefault(file.name, file)
    return list(files.values())


def _from_manifest(path: Path) -> FrameSet:
    manifest = manifests.read(path)
    collection = manifests.collect(manifest, path.parent)
    settings = manifest.model_dump(mode="json", include={"seed", "split"}, exclude_defaults=True)
    digest = _content_hash(collection.frames, settings)
    frameset = FrameSet(
        manifest.name,
        digest,
        *_parts(collection),
        description=manifest.description,
        seed=manifest.seed,
        validation_share=manifest.split.share,
    )
    _checked(frameset, str(path))
    if manifest.sha256 not in ("", digest):
        raise CalibrationError(
            f"The calibration set {manifest.name} is not what its manifest says: its content has changed.",
            evidence=[f"sha256 in {path}: {manifest.sha256}", f"sha256 of the frames: {digest}", *_listing(frameset.skipped)],
            remedy="restore the files, or, if the change is meant, write the new sha256 into the manifest",
        )
    return frameset


def _parts(collection: Collection) -> tuple[tuple[Frame, ...], tuple[Skipped, ...]]:
    return tuple(collection.frames), tuple(collection.skipped)


def _content_hash(frames: Sequence[Frame], settings: dict[str, object]) -> str:
    """Over names and bytes, and over what a manifest says of cropping, seed and split: what a build computes follows from it."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for frame in frames:
        digest.update("\0".join(("\n", frame.name, frame.digest, frame.crop or "", frame.side or "")).encode())
    return digest.hexdigest()


def _checked(frameset: FrameSet, place: str) -> FrameSet:
    if not frameset.frames:
        raise CalibrationError(
            f"The calibration set {place} has no usable frame.",
            evidence=_listing(frameset.skipped) or ["no pictures or videos found"],
            remedy="give at least 8 pictures in JPEG, PNG, BMP, WebP, TIFF or PPM, or a video",
        )
    return frameset


def _listing(skipped: Sequence[Skipped]) -> list[str]:
    lines = [f"{name}: {reason}" for name, reason in skipped[:_SHOWN]]
    return [*lines, f"and {len(skipped) - _SHOWN} more"] if len(skipped) > _SHOWN else lines
