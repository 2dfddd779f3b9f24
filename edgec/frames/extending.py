"""A calibration set with more frames, such as those that robots kept because they are unlike it: a manifest that names the set's
own sources, and of the new frames those that show something new.

Left out are frames that are damaged, and those that nearly repeat one of the set, or an earlier new one, by the linter's rule
(`edgec.frames.measuring.NEAR_BITS`). To that rule a view that the set has is the same in other light and other colours: where
that is what is new, only the very same files are to be left out (`repeats`). Nothing is copied: the manifest names files where
they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgec.durable import write_whole
from edgec.errors import CalibrationError, EdgecError, RequestError
from edgec.frames import manifest as manifests
from edgec.frames.lint import MOST_FRAMES
from edgec.frames.loading import LIST_LIMIT, load, path_of
from edgec.frames.manifest import SetManifest
from edgec.frames.measuring import NEAR_BITS, near, perceptual_hash
from edgec.frames.recordings import DEFAULT, Reading
from edgec.frames.types import Frame, FrameSet, Skipped
from edgec.paths import expand
from edgec.records.kept import KeptFrame, line_of
from edgec.text import counted, shown, toml
from edgec.untrusted import TEXT_LIMIT, Refused, read_bytes

SUFFIX = ".toml"
Hash = NDArray[np.bool_]
Repeats = Literal["near", "exact"]


@dataclass(frozen=True)
class Added:
    """A frame that is new: its name in the folder that it is from, the source that it is in, and the line of the robot that kept
    it, if it has one."""

    name: str
    source: str
    line: KeptFrame | None


@dataclass(frozen=True)
class Extension:
    """What was written. `compared` of the `before` frames of the set were looked at for repetitions; `frames` is how many there
    are now. `left_out` are the other frames, each with the reason."""

    output: Path
    before: int
    compared: int
    frames: int
    added: tuple[Added, ...]
    left_out: tuple[Skipped, ...]


def extend(
    reference: str,
    folder: Path,
    output: Path,
    *,
    repeats: Repeats = "near",
    reading: Reading = DEFAULT,
    progress: Callable[[str], None] = lambda text: None,
) -> Extension:
    """Write the manifest `output` of the set that `reference` means with the frames in `folder`, without what is there already:
    `near` repetitions, or the very same files (`exact`). Decodes every frame once; of a
    set of more than `MOST_FRAMES` a sample is compared. `progress` is called with what is being done.

    Raises `RequestError` if something is at `output`, or it is no `.toml`; `CalibrationError` as `load`, for a set of noise, and
    if none of the frames is new.
    """
    _check_output(output)
    base = load(reference, most=MOST_FRAMES, reading=reading)
    if base.random:
        raise CalibrationError("Noise cannot be extended with frames.", remedy="name a set of a camera's frames")
    new = load(str(folder))
    names, hashes, _ = _hashes(base, "the set", progress)
    candidates, new_hashes, damaged = _hashes(new, "the new frames", progress)
    reasons = _repetitions(candidates, new_hashes, names, hashes, repeats)
    left_out = [*new.skipped, *damaged, *((frame.name, reasons[frame.name]) for frame in candidates if frame.name in reasons)]
    added = []
    for frame in candidates:
        path = folder / frame.name
        if frame.name in reasons:
            continue
        if not path.is_file():  # of a video, or of a name that is not in UTF-8
            left_out.append((frame.name, "not a picture's file: only pictures are added"))
            continue
        added.append(Added(frame.name, _source(frame.name, folder), line_of(path)))
    if not added:
        raise CalibrationError(
            f"None of the frames in {folder} is new to the set {base.name}.",
            evidence=[f"{name}: {reason}" for name, reason in left_out[:8]],
            remedy="fetch more frames; or build with the set as it is",
        )
    text = _written(_manifest(reference, reading, output), base, folder, output, added)
    total = _write(output, text)
    return Extension(output, base.sampled_of or len(base.frames), len(base.frames), total, tuple(added), tuple(left_out))


def _check_output(output: Path) -> None:
    if output.suffix.lower() != SUFFIX:
        raise RequestError(
            f"{output} is not a manifest's name.", evidence="a set is written as a .toml", remedy="end it in .toml"
        )
    if os.path.lexists(output):
        raise RequestError(f"{output} exists already.", remedy="choose another path, or remove it")
    if not output.absolute().parent.is_dir():
        raise RequestError(f"{output} cannot be written.", evidence=f"there is no folder {output.absolute().parent}")


def _hashes(frames: FrameSet, what: str, progress: Callable[[str], None]) -> tuple[list[Frame], list[Hash], list[Skipped]]:
    """Of the frames that are whole, and the damaged ones."""
    whole, hashes, damaged = [], [], []
    for count, frame in enumerate(frames.frames, 1):
        try:
            hashes.append(perceptual_hash(frame.read()))
        except CalibrationError as error:
            damaged.append((frame.name, "; ".join(error.evidence)))
        else:
            whole.append(frame)
        progress(f"looked at {count} of {len(frames.frames)} frames of {what}")
    return whole, hashes, damaged


def _repetitions(
    new: Sequence[Frame], hashes: Sequence[Hash], base: Sequence[Frame], known: Sequence[Hash], repeats: Repeats
) -> dict[str, str]:
    """Why frames are left out, by name. A frame that is left out makes no later one a repetition."""
    reasons: dict[str, str] = {}
    for index, other in near(hashes, known, NEAR_BITS):
        same = new[index].digest == base[other].digest
        if same or repeats == "near":
            reasons.setdefault(new[index].name, f"{'is' if same else 'nearly repeats'} the set's {base[other].name}")
    earlier: dict[int, list[int]] = {}
    for index, other in near(hashes, hashes, NEAR_BITS):
        if other < index and (repeats == "near" or new[index].digest == new[other].digest):
            earlier.setdefault(index, []).append(other)
    for index in sorted(earlier):
        first = next((other for other in earlier[index] if new[other].name not in reasons), None)
        if first is not None:
            word = "is" if new[index].digest == new[first].digest else "nearly repeats"
            reasons.setdefault(new[index].name, f"{word} {new[first].name}")
    return reasons


def _source(name: str, folder: Path) -> str:
    """The folder of the board that it was fetched from."""
    parent = PurePosixPath(name).parent.as_posix()
    return f"{folder.resolve().name if parent == '.' else parent}, unlike the calibration frames"


def _manifest(reference: str, reading: Reading, output: Path) -> dict[str, Any]:
    """The set as a manifest beside `output`: `seed`, `crop`, `split` and `sources`, without what is left to edgec."""
    path = path_of(reference)
    top = output.absolute().parent
    if path.suffix.lower() == SUFFIX:
        return _moved(manifests.read(path), path.absolute().parent, top)
    paths = _listed(path) if path.suffix.lower() == ".txt" and path.is_file() else [path.absolute()]
    source: dict[str, Any] = {"path": [_relative(each, top) for each in paths], "name": path.resolve().name}
    source |= {"topic": reading.topic} if reading.topic else {}
    source |= {"raw": str(reading.raw)} if reading.raw else {}
    return {"sources": [source]}


def _moved(manifest: SetManifest, here: Path, there: Path) -> dict[str, Any]:
    """With paths that are relative to another folder. The hash was that of other names."""
    facts = manifest.model_dump(mode="json", exclude_defaults=True, exclude={"name", "description", "sha256", "sources"})
    sources = []
    for source in manifest.sources:
        moved = source.model_dump(mode="json", exclude_defaults=True)
        sources.append({**moved, "name": source.title, "path": [_relative(here / each, there) for each in source.path]})
    return {**facts, "sources": sources}


def _listed(path: Path) -> list[Path]:
    try:
        lines = read_bytes(path, LIST_LIMIT).decode("utf-8-sig").splitlines()
    except (Refused, OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"The list {path} cannot be read.", evidence=f"it {error}") from error
    entries = [
        path.absolute().parent / expand(line.strip()) for line in lines if line.strip() and not line.strip().startswith("#")
    ]
    return list(dict.fromkeys(entry for entry in entries if entry.exists()))


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _written(facts: dict[str, Any], base: FrameSet, folder: Path, output: Path, added: Sequence[Added]) -> str:
    """TOML. Comments say where new frames came from."""
    top = output.absolute().parent
    description = f"{base.name} with {counted(len(added), 'frame')} of {folder.resolve().name}"
    lines = ["# Written by `edgec calibration extend`. It names files where they are: they must stay there.", ""]
    lines += [f"name = {toml(output.stem)}", f"description = {toml(description)}"]
    lines += [f"{key} = {toml(value)}" for key, value in facts.items() if key not in ("split", "sources")]
    if "split" in facts:
        lines += ["", "[split]", *(f"{key} = {toml(value)}" for key, value in facts["split"].items())]
    for source in facts["sources"]:
        lines += ["", "[[sources]]", *(f"{key} = {toml(value)}" for key, value in source.items())]
    taken = {str(source["name"]) for source in facts["sources"]}
    for title in dict.fromkeys(each.source for each in added):
        members = [each for each in added if each.source == title]
        name, number = title, 1
        while name in taken:
            number += 1
            name = f"{title} ({number})"
        taken.add(name)
        paths = [f"  {toml(_relative(folder.absolute() / each.name, top))}," for each in members]
        lines += ["", *_origin(members), "[[sources]]", f"name = {toml(name)}", "path = [", *paths, "]"]
    return "\n".join([*lines, ""])


def _origin(members: Sequence[Added]) -> list[str]:
    """Comments: how far from the calibration frames these are, when they were seen, and by which artefact."""
    lines = [each.line for each in members if each.line is not None]
    if not lines:
        return [f"# {counted(len(members), 'frame')}; no robot says where they are from."]
    scores, times = sorted(line.score for line in lines), sorted(line.time for line in lines)
    keys = ", ".join(sorted({line.build_key[:16] for line in lines}))
    return [
        f"# {counted(len(members), 'frame')}, drift {scores[0]:.2f} to {scores[-1]:.2f}",
        f"# by the artefact with build key {shown(keys, 80)}",
        f"# {shown(times[0], 40)} to {shown(times[-1], 40)}",
    ]


def _write(output: Path, text: str) -> int:
    """Write the manifest, and read it as a build will; returns the number of its frames."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise CalibrationError(
            "The set cannot be written as a manifest.", evidence="a file's name is not UTF-8", remedy="rename it"
        ) from error
    if len(content) > TEXT_LIMIT:
        raise CalibrationError(
            "The set cannot be written as a manifest: it would be too long.",
            evidence=f"{len(content):,} bytes, of at most {TEXT_LIMIT:,}",
            remedy="put the files that a list names into a folder, and give that",
        )
    try:
        write_whole(output, content)
    except OSError as error:
        raise EdgecError(f"{output} cannot be written.", evidence=error.strerror or str(error)) from error
    try:
        written = load(str(output), most=MOST_FRAMES)
    except EdgecError:
        output.unlink(missing_ok=True)
        raise
    return written.sampled_of or len(written.frames)
