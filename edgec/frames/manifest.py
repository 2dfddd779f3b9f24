"""TOML manifests: a calibration set that says where its frames are from. The keys are documented in `calibration/README.md`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgec.errors import CalibrationError, RequestError
from edgec.frames import raw
from edgec.frames.collecting import Collection, File, Place, frames_at, is_frame_file, name_of, natural, places_in
from edgec.frames.recordings import DEFAULT, Reader, Reading
from edgec.frames.sampling import drawn, evenly
from edgec.frames.types import Crop, Frame
from edgec.frames.walking import CONVERT, Walk, is_folder, is_link, remedy_for, stat_of
from edgec.untrusted import TEXT_LIMIT, Refused, parse_toml, read_bytes

_GLOB = frozenset("*?[")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FrameSource(_Table):
    """One of a manifest's `[[sources]]`."""

    path: tuple[str, ...] = Field(min_length=1)
    """Files, folders or glob patterns, relative to the manifest."""
    name: str = ""
    every: Annotated[int, Field(ge=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    crop: Crop | None = None
    bits: Annotated[int, Field(ge=9, le=16, strict=True)] | None = None
    """The number of bits that full scale has, in pictures with more than 8 bits a sample."""
    topic: str = ""
    """The camera's, in bags that have several."""
    raw: str = ""
    """The format of raw dumps, as `--raw-format`."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("raw")
    @classmethod
    def _format(cls, value: str) -> str:
        try:
            return str(raw.parse(value)) if value else ""
        except RequestError as error:
            raise ValueError("; ".join((error.what, *error.evidence, error.remedy))) from error

    def reading(self, otherwise: Reading) -> Reading:
        """What the source says of its bags and dumps, and where it says nothing, what `otherwise` does."""
        return Reading(self.topic or otherwise.topic, raw.parse(self.raw) if self.raw else otherwise.raw)

    @property
    def title(self) -> str:
        """The name, or else the first path."""
        return self.name or self.path[0]


class ValidationRule(_Table):
    """A manifest's `[split]`: which frames are for validation."""

    share: float = Field(default=0.25, gt=0, le=0.5)
    sources: tuple[str, ...] = ()
    """Names of the sources whose frames are all for validation. All others are then for calibration."""


class SetManifest(_Table):
    """A whole manifest; `calibration/README.md` explains the keys."""

    name: str = Field(min_length=1)
    description: str = ""
    seed: int = 0
    crop: Crop | None = None
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    sources: tuple[FrameSource, ...] = Field(min_length=1)
    split: ValidationRule = ValidationRule()


def read(path: Path) -> SetManifest:
    """The manifest in a TOML file. Raises `CalibrationError` naming the key that is wrong."""
    try:
        manifest = SetManifest.model_validate(parse_toml(read_bytes(path, TEXT_LIMIT)))
    except (Refused, OSError) as error:
        raise CalibrationError(
            f"The calibration set's manifest {path} cannot be read.",
            evidence=f"it {error}",
            remedy="correct it; name very many files by folders or patterns, or in a list of paths (.txt)",
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


def collect(manifest: SetManifest, root: Path, walk: Walk, most: int | None = None, reading: Reading = DEFAULT) -> Collection:
    """The manifest's frames, source by source; if there are more than `most`, an even sample of them. Raises `CalibrationError`
    for a source without files, and for a file that belongs to two."""
    total = Collection()
    owners: dict[str, str] = {}
    placed: list[list[Place]] = []
    for position, source in enumerate(manifest.sources):
        stated = source.reading(reading)
        walk.dumps = stated.raw is not None
        files = _files(source, root, position, walk)
        for file in files:
            if file.name in owners:
                raise CalibrationError(
                    f"The file {file.name} belongs to two sources of the calibration set {manifest.name}.",
                    evidence=f"{owners[file.name]} and {source.title}",
                    remedy="name each file once: frames on both sides of the split would make fidelity look better than it is",
                )
            owners[file.name] = source.title
        places = places_in(files, source.every, walk.skipped, stated, total.recorded)
        placed.append(places if source.limit is None else drawn(places, source.limit, f"{manifest.seed}:{source.title}"))
    total.places = sum(map(len, placed))
    numbered = [(number, place) for number, places in enumerate(placed) for place in places]
    chosen = numbered if most is None else evenly(numbered, most)
    reader = Reader()
    for position, source in enumerate(manifest.sources):
        part = frames_at([place for number, place in chosen if number == position], reader, source.bits)
        total.skipped += part.skipped
        total.encodings += part.encodings
        total.origins += part.origins
        total.frames += [_placed(frame, source, manifest) for frame in part.frames]
    return total


def _placed(frame: Frame, source: FrameSource, manifest: SetManifest) -> Frame:
    frame = replace(frame, crop=source.crop or manifest.crop)
    if not manifest.split.sources:
        return frame
    return replace(frame, side="validation" if source.title in manifest.split.sources else "calibration")


def _files(source: FrameSource, root: Path, position: int, walk: Walk) -> list[File]:
    by_name: dict[str, File] = {}
    for pattern in source.path:
        before = len(walk.skipped)
        files = _matching(pattern, root, walk)
        if not files and len(walk.skipped) == before:
            left_out = walk.notes()
            raise CalibrationError(
                f"The source {source.title!r} has no pictures, videos or bags.",
                evidence=[f"sources.{position}.path: {pattern!r}, looked for under {root}", *left_out],
                remedy=remedy_for(Path(pattern), CONVERT if walk.others else ""),
            )
        by_name |= {file.name: file for file in files}
    return sorted(by_name.values(), key=lambda file: (natural(file.name), file.name))


def _matching(pattern: str, root: Path, walk: Walk) -> list[File]:
    literal = root / pattern
    is_literal = _GLOB.isdisjoint(pattern) or not isinstance(stat_of(literal), str)
    files: list[File] = []
    for path in [literal] if is_literal else walk.matching(pattern, root):
        if is_folder(path):
            files += walk.files_in(path, root)
        elif is_frame_file(path, dumps=walk.dumps) and (not isinstance(stat_of(path), str) or is_link(path)):
            files.append(File(path, name_of(path, root)))
        elif not isinstance(stat_of(path), str):
            walk.others[path.suffix.lower()] += 1
    return files
