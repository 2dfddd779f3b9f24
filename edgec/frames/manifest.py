"""TOML manifests: a calibration set that says where its frames are from. The keys are documented in `calibration/README.md`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgec.errors import CalibrationError
from edgec.frames.collecting import Collection, File, Place, frames_at, is_frame_file, name_of, natural, places, sample
from edgec.frames.types import Crop, Frame
from edgec.frames.video import Projector
from edgec.frames.walking import CONVERT, Walk, is_folder, is_link, remedy_for, stat_of
from edgec.untrusted import TEXT_LIMIT, Refused, parse_toml, read_bytes

_GLOB = frozenset("*?[")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Table):
    path: tuple[str, ...] = Field(min_length=1)
    """Files, folders or glob patterns, relative to the manifest."""
    name: str = ""
    every: Annotated[int, Field(ge=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    crop: Crop | None = None
    bits: Annotated[int, Field(ge=9, le=16, strict=True)] | None = None
    """How many bits full scale is of, in pictures with more than 8 bits a sample."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def title(self) -> str:
        return self.name or self.path[0]


class ValidationRule(_Table):
    share: float = Field(default=0.25, gt=0, le=0.5)
    sources: tuple[str, ...] = ()
    """Names of the sources that are for validation, whole. All others are then for calibration."""


class SetManifest(_Table):
    name: str = Field(min_length=1)
    description: str = ""
    seed: int = 0
    crop: Crop | None = None
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    sources: tuple[Source, ...] = Field(min_length=1)
    split: ValidationRule = ValidationRule()


def read(path: Path) -> SetManifest:
    """Raises `CalibrationError` naming the key that is wrong."""
    try:
        manifest = SetManifest.model_validate(parse_toml(read_bytes(path, TEXT_LIMIT)))
    except (Refused, OSError) as error:
        raise CalibrationError(
            f"The calibration set's manifest {path} cannot be read.",
            evidence=f"it {error}",
            remedy="correct it; very many files are named by folders or patterns, or in a list of paths (.txt)",
        ) from error
    except ValidationError as error:
        facts = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise CalibrationError(
            f"The calibration set's manifest {path} is not valid.", evidence=facts, remedy="calibration/README.md lists the keys"
        ) from error
    titles = [source.title for source in manifest.sources]
    for position, name in enumerate(manifest.split.sources):
        if name not in titles:
            raise CalibrationError(
                f"The calibration set's manifest {path} is not valid.",
                evidence=f"split.sources.{position}: no source is named {name!r}; there are {', '.join(titles)}",
            )
    return manifest


def collect(manifest: SetManifest, root: Path, walk: Walk, most: int | None = None) -> Collection:
    """The manifest's frames, source by source; of more than `most` an even sample. Raises `CalibrationError` for a source without
    files or with another's."""
    total = Collection()
    owners: dict[str, str] = {}
    placed: list[list[Place]] = []
    for position, source in enumerate(manifest.sources):
        files = _files(source, root, position, walk)
        for file in files:
            if file.name in owners:
                raise CalibrationError(
                    f"The file {file.name} belongs to two sources of the calibration set {manifest.name}.",
                    evidence=f"{owners[file.name]} and {source.title}",
                    remedy="name each file once: frames on both sides of the split would make fidelity look better than it is",
                )
            owners[file.name] = source.title
        found = places(files, source.every, walk.skipped)
        placed.append(_thin(found, source.limit, f"{manifest.seed}:{source.title}"))
    total.places = sum(map(len, placed))
    chosen = None if most is None else sample(total.places, most)
    projector, first = Projector(), 0
    for source, found in zip(manifest.sources, placed, strict=True):
        numbered = enumerate(found, first)
        first += len(found)
        part = frames_at([place for number, place in numbered if chosen is None or number in chosen], projector, source.bits)
        total.skipped += part.skipped
        total.encodings += part.encodings
        total.frames += [_placed(frame, source, manifest) for frame in part.frames]
    return total


def _placed(frame: Frame, source: Source, manifest: SetManifest) -> Frame:
    frame = replace(frame, crop=source.crop or manifest.crop)
    if not manifest.split.sources:
        return frame
    return replace(frame, side="validation" if source.title in manifest.split.sources else "calibration")


def _files(source: Source, root: Path, position: int, walk: Walk) -> list[File]:
    found: dict[str, File] = {}
    for pattern in source.path:
        before = len(walk.skipped)
        files = _matching(pattern, root, walk)
        if not files and len(walk.skipped) == before:
            left_out = walk.notes()
            raise CalibrationError(
                f"The source {source.title!r} has no pictures or videos.",
                evidence=[f"sources.{position}.path: {pattern!r}, looked for under {root}", *left_out],
                remedy=remedy_for(Path(pattern), CONVERT if walk.others else ""),
            )
        found |= {file.name: file for file in files}
    return sorted(found.values(), key=lambda file: (natural(file.name), file.name))


def _matching(pattern: str, root: Path, walk: Walk) -> list[File]:
    literal = root / pattern
    is_literal = _GLOB.isdisjoint(pattern) or not isinstance(stat_of(literal), str)
    files: list[File] = []
    for path in [literal] if is_literal else walk.matching(pattern, root):
        if is_folder(path):
            files += walk.files_in(path, root)
        elif is_frame_file(path) and (not isinstance(stat_of(path), str) or is_link(path)):
            files.append(File(path, name_of(path, root)))
        elif not isinstance(stat_of(path), str):
            walk.others[path.suffix.lower()] += 1
    return files


def _thin(found: list[Place], limit: int | None, seed: str) -> list[Place]:
    """At most `limit` of them: one drawn from each of as many equal stretches, so that the whole source is covered."""
    if limit is None or len(found) <= limit:
        return found
    edges = [len(found) * step // limit for step in range(limit + 1)]
    return [found[start + _number(f"{seed}:{start}") % (end - start)] for start, end in pairwise(edges)]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
