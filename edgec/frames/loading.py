"""From what the user typed as a calibration set to a `FrameSet`."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgec.errors import CalibrationError
from edgec.frames import manifest as manifests
from edgec.frames import raw, recordings
from edgec.frames.collecting import Collection, File, frames_at, is_frame_file, name_of, places_in
from edgec.frames.noise import random_set
from edgec.frames.recordings import DEFAULT, Reader, Reading
from edgec.frames.sampling import evenly
from edgec.frames.types import Frame, FrameSet, Skipped
from edgec.frames.walking import ABSENT, Walk, is_link, remedy_for, stat_of
from edgec.paths import expand
from edgec.resources import room
from edgec.text import cut
from edgec.untrusted import Refused, read_bytes

LIST_LIMIT = 64 << 20
"""Bytes of a list of paths: a million of them."""
_SHOWN = 10


def load(reference: str, *, most: int | None = None, reading: Reading = DEFAULT) -> FrameSet:
    """The set that `reference` means.

    `random` or `random:N`: noise. A bare name that edgec ships (`demo`): that set; write `./demo` for a folder of that name.
    Else a path: a folder, searched with all below it; a video; a bag; a raw dump; a list (`.txt`, a path a line, relative to the
    list); a manifest (`.toml`). `reading` says what bags and dumps do not; a manifest may say it itself.

    Every file's header is checked and its bytes are hashed. Only each video's first frame is decoded, pictures with 16 bits a
    sample until their full scale is known, and of bags and dumps those frames that may be taken. With `most`, that many frames
    are taken, spread evenly, and the set has no hash. Files that cannot be used are in `skipped`, with the reason; damage that
    only decoding shows is reported by `split` and `batches`.

    Raises `CalibrationError` if there is no such set, if it has no frames, or if nothing says what full scale is.
    """
    if reference == "random" or reference.startswith("random:"):
        return random_set(reference)
    path = path_of(reference)
    status = stat_of(path) if reference else ABSENT
    if isinstance(status, str):
        if status != ABSENT:
            raise CalibrationError(f"The calibration set {reference} cannot be opened.", evidence=status)
        raise CalibrationError(
            f"There is no calibration set {reference!r}.",
            evidence=f"looked for {path.absolute()}, and among the sets that edgec ships: {', '.join(shipped())}",
            remedy="give a folder of pictures, a video, a bag, a list of paths (.txt), a manifest (.toml) or a shipped set",
        )
    suffix, walk = path.suffix.lower(), Walk(dumps=reading.raw is not None)
    notes: list[str] = []
    if stat.S_ISDIR(status.st_mode):
        files = walk.files_in(path, path)
    elif suffix == ".toml":
        return _from_manifest(path, walk, most, reading)
    elif suffix == ".txt":
        files = _listed(path, walk)
    elif is_frame_file(path, dumps=walk.dumps):
        files = [File(path, name_of(path, path.parent))]
    else:
        raise CalibrationError(
            f"{reference} is not a calibration set.",
            evidence=f"a file with the suffix {path.suffix!r}",
            remedy=remedy_for(path, "give a folder of pictures, a video, a bag, a list of paths (.txt) or a manifest (.toml)"),
        )
    places = places_in(files, None, walk.skipped, reading, notes)
    collection = frames_at(places if most is None else evenly(places, most), Reader())
    collection.places, collection.recorded = len(places), notes
    name = name_of(path.resolve(), path.resolve().parent)
    return _checked(_set(name, collection, walk, {}), str(path), walk)


def path_of(reference: str) -> Path:
    """Where the set lies that a name or a path means; there need not be anything."""
    return _shipped(reference) or expand(reference)


def require_use(reading: Reading, *framesets: FrameSet) -> None:
    """Raises `RequestError` for a topic if no set has frames of a bag, and for a format of raw dumps if none is used."""
    dumps = (Path(frame.source).suffix.lower() in raw.SUFFIXES for each in framesets for frame in each.frames)
    recordings.require_use(reading, bags=any(each.origins for each in framesets), dumps=any(dumps))


def shipped() -> list[str]:
    """Names of the sets that come with edgec."""
    return sorted(path.stem for path in room("calibration").glob("*.toml"))


def _shipped(reference: str) -> Path | None:
    return room("calibration") / f"{reference}.toml" if reference in shipped() else None


def _listed(path: Path, walk: Walk) -> list[File]:
    try:
        lines = read_bytes(path, LIST_LIMIT).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CalibrationError(
            f"The list {path} cannot be read.", evidence=f"it is not UTF-8: {error.reason} at byte {error.start}"
        ) from error
    except (Refused, OSError) as error:
        raise CalibrationError(f"The list {path} cannot be read.", evidence=f"it {error}") from error
    files: dict[str, File] = {}
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        entry = path.parent / expand(line)
        status = stat_of(entry)
        if not isinstance(status, str) and stat.S_ISDIR(status.st_mode):
            named = walk.files_in(entry, path.parent)
        elif isinstance(status, str) and not is_link(entry):
            walk.skipped.append((line, status))
            continue
        elif is_frame_file(entry, dumps=walk.dumps):
            named = [File(entry, name_of(entry, path.parent))]
        else:
            walk.skipped.append((line, "neither a picture nor a video nor a bag, by its suffix"))
            continue
        for file in named:
            if file.name in files:
                walk.skipped.append((line, "listed twice"))
            files.setdefault(file.name, file)
    return list(files.values())


def _from_manifest(path: Path, walk: Walk, most: int | None, reading: Reading) -> FrameSet:
    manifest = manifests.read(path)
    collection = manifests.collect(manifest, path.parent, walk, most, reading)
    settings = manifest.model_dump(mode="json", include={"seed", "split"}, exclude_defaults=True)
    frameset = replace(
        _set(manifest.name, collection, walk, settings),
        description=manifest.description,
        seed=manifest.seed,
        validation_share=manifest.split.share,
    )
    _checked(frameset, str(path), walk)
    if manifest.sha256 not in ("", frameset.sha256) and frameset.sampled_of is None:
        raise CalibrationError(
            f"The calibration set {manifest.name} is not what its manifest says: its content has changed.",
            evidence=[
                f"sha256 in {path}: {manifest.sha256}",
                f"sha256 of the frames: {frameset.sha256}",
                *_listing(frameset.skipped),
            ],
            remedy="restore the files, or, if the change is meant, write the new sha256 into the manifest",
        )
    return frameset


def _set(name: str, collection: Collection, walk: Walk, settings: dict[str, object]) -> FrameSet:
    looked_at = len(collection.frames) + len(collection.skipped)
    sampled = looked_at < collection.places
    return FrameSet(
        name,
        "" if sampled else _content_hash(collection.frames, settings),
        tuple(collection.frames),
        (*walk.skipped, *collection.skipped),
        notes=(*walk.notes(), *collection.recorded, *collection.notes()),
        origins=tuple(collection.origins),
        sampled_of=collection.places if sampled else None,
    )


def _content_hash(frames: Sequence[Frame], settings: dict[str, object]) -> str:
    """SHA-256, in hex, over everything that a build's results depend on: names and bytes, and a manifest's crop, seed and
    split."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for frame in frames:
        digest.update("\0".join(("\n", frame.name, frame.digest, frame.crop or "", frame.side or "")).encode())
    return digest.hexdigest()


def _checked(frameset: FrameSet, place: str, walk: Walk) -> FrameSet:
    if not frameset.frames:
        otherwise = "give at least 8 pictures in JPEG, PNG, BMP, WebP, TIFF, PPM or PGM, a video or a bag"
        if len(walk.others) == 1:
            otherwise = remedy_for(Path(f"x{next(iter(walk.others))}"), otherwise)
        elif walk.others:
            otherwise = f"{otherwise}; convert others to JPEG or PNG, and unpack archives"
        raise CalibrationError(
            f"The calibration set {place} has no usable frame.",
            evidence=[*_listing(frameset.skipped), *walk.notes()] or ["no pictures, videos or bags found"],
            remedy=otherwise,
        )
    return frameset


def _listing(skipped: Sequence[Skipped]) -> list[str]:
    return cut([f"{name}: {reason}" for name, reason in skipped], _SHOWN)
