"""A first recipe, from what a folder holds: `edgec init`. Imports no torch, and decodes one frame at most."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgec import frames
from edgec.checkpoint.location.source import DEMO, HUGGINGFACE_WEIGHTS, SUFFIXES, locate
from edgec.errors import EdgecError
from edgec.frames import pictures, video
from edgec.frames.bags.formats import SUFFIXES as BAGS
from edgec.heads.description import toml_beside
from edgec.model.spec import Size
from edgec.request import DEFAULT_SIZE
from edgec.text import toml
from edgec.untrusted import Refused, is_file, parse_json_object

_PATCH = 16
"""Of DINOv3; a ConvNeXt takes multiples of 32."""
_SHORT_SIDE = 480
"""Pixels that the shorter side of a large camera's frames is brought to: larger ones take seconds on most boards."""
_MOST_ENTRIES = 4096
_HEADER_LIMIT = 16 << 20
_FRAMES = ("calibration", "frames", "images", "pictures")
"""Names of folders that are taken before others."""
_VALIDATION = re.compile(r"val(id(ation)?)?([-_ ].*)?|test([-_ ].*)?", re.IGNORECASE)
_FLEET = "FLEET.toml"


@dataclass(frozen=True)
class Start:
    """What a folder holds, by what a recipe calls it; paths relative to it. `others` are what could stand for the first of a
    kind, too. `camera` is the size of the frames."""

    checkpoint: str = DEMO
    calibration: str | None = None
    validation: str | None = None
    heads: dict[str, str] = field(default_factory=dict)
    size: Size = DEFAULT_SIZE
    camera: Size | None = None
    key: str | None = None
    boards: tuple[str, ...] = ()
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """What was found, as titles and texts for people."""
        found = [
            ("checkpoint", self.checkpoint if self.checkpoint != DEMO else f"none: {DEMO} stands for it"),
            ("calibration", self.calibration or "no frames: edgec's own pictures stand for them"),
            ("validation", self.validation or "a share of the calibration frames"),
            ("heads", ", ".join(self.heads.values()) or "none"),
            ("size", f"{self.size}" + (f", for a camera of {self.camera}" if self.camera else "")),
        ]
        found += [("key", self.key)] if self.key else []
        found += [("boards", ", ".join(self.boards))] if self.boards else []
        return found + [(f"other {key}", ", ".join(names)) for key, names in self.others.items()]


def look(folder: Path) -> Start:
    """What a recipe in this folder could say. Only the folder itself and those in it are looked at.

    Raises `OSError` for a folder that cannot be listed.
    """
    entries = sorted(folder.iterdir())[:_MOST_ENTRIES]
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    heads = {path: name for path in _heads([*entries, *_inside(folders, "heads")]) if (name := _name(path))}
    models = _checkpoints(folder, entries, folders, heads)
    sets = _frames(entries, folders, models)
    judging = [path for path in sets if _VALIDATION.fullmatch(path.stem)]
    calibrating = [path for path in sets if path not in judging]
    keys = [path.with_suffix("") for path in entries if path.suffix == ".pub" and is_file(path.with_suffix(""))]
    camera = _camera(calibrating[0]) if calibrating else None
    others = {
        name: tuple(_relative(path, folder) for path in paths[1:8])
        for name, paths in (("checkpoints", models), ("frames", calibrating), ("keys", keys))
        if len(paths) > 1
    }

    def first(paths: Sequence[Path]) -> str | None:
        return _relative(paths[0], folder) if paths else None

    return Start(
        checkpoint=first(models) or DEMO,
        calibration=first(calibrating),
        validation=first(judging),
        heads={name: _relative(path, folder) for path, name in heads.items()},
        size=_fitting(camera) if camera else DEFAULT_SIZE,
        camera=camera,
        key=first(keys),
        boards=(_FLEET,) if (folder / _FLEET).is_file() else (),
        others=others,
    )


def written(start: Start) -> str:
    """The recipe's text: what was found, and a comment for each choice that is left."""

    def chosen(key: str, value: str | None, example: str, comment: str = "") -> str:
        line = f"{key} = {toml(value)}" if value is not None else f"# {key} = {toml(example)}"
        return f"{line}{'   # ' + comment if comment else ''}"

    also = start.others
    lines = [
        "# What `edgec build` makes here. Options on the command line count instead of what is written here.",
        "# Paths are relative to this file. `edgec schema recipe` prints the JSON Schema, for editors.",
        "",
        chosen("checkpoint", start.checkpoint, "", _or(also.get("checkpoints"))),
        'targets = ["cpu"]   # `edgec targets` lists all; one artefact for each, at each size',
        f"sizes = [{toml(str(start.size))}]   # height x width"
        + (f"; the camera's frames are {start.camera}" if start.camera and start.camera != start.size else ""),
        chosen("calibration", start.calibration, "frames/", _or(also.get("frames"))),
        chosen("validation", start.validation, "other-frames/", "" if start.validation else "otherwise a share of calibration"),
        'output = "."   # the folder that artefacts go to',
        f"boards = {toml(list(start.boards))}   # for `edgec deploy`"
        if start.boards
        else '# boards = ["robot@r1"]   # for `edgec deploy`',
        "",
        "[heads]",
        *([f"{name} = {toml(path)}" for name, path in start.heads.items()] or ['# floor = "floor.safetensors"']),
        "",
        "[budgets]   # what int8 and other precisions may lose",
        "min_fidelity = 0.99",
        *(["# min_agreement = 0.99", "# min_iou = 0.97", "# max_depth_error = 0.02"] if start.heads else []),
        "",
        *(
            ["[bundle]", chosen("key", start.key, "", _or(also.get("keys")))]
            if start.key
            else ["# [bundle]", '# key = "release.key"']
        ),
    ]
    return "\n".join(lines) + "\n"


def _or(names: Sequence[str] | None) -> str:
    return f"or {', '.join(json.dumps(name) for name in names)}" if names else ""


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _inside(folders: Iterable[Path], name: str) -> list[Path]:
    with suppress(OSError):
        return [path for each in folders if each.name == name for path in sorted(each.iterdir())[:_MOST_ENTRIES]]
    return []


def _heads(paths: Iterable[Path]) -> list[Path]:
    """Files that say that they are heads: in their metadata, or in a TOML file of the same name."""
    suffixes = (*SUFFIXES, ".onnx")
    return [path for path in paths if path.suffix.lower() in suffixes and is_file(path) and (toml_beside(path) or _kind(path))]


def _kind(path: Path) -> bool:
    """Whether the metadata of a safetensors file names a kind of head."""
    if path.suffix.lower() != ".safetensors":
        return False
    with suppress(OSError, Refused), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        texts = parse_json_object(file.read(length)).get("__metadata__") if length <= _HEADER_LIMIT else None
        return isinstance(texts, dict) and "kind" in texts
    return False


def _name(path: Path) -> str:
    """What its output may be called; "" if nothing of the file's name can be."""
    return re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_0123456789")[:40]


def _checkpoints(folder: Path, entries: Sequence[Path], folders: Sequence[Path], heads: Iterable[Path]) -> list[Path]:
    """The folder itself in Hugging Face's layout, files of weights, and folders that hold a checkpoint."""
    if any((folder / name).is_file() for name in HUGGINGFACE_WEIGHTS) and _is_checkpoint(folder):
        return [folder]
    files = [path for path in entries if path.name.lower().endswith(SUFFIXES) and is_file(path) and path not in set(heads)]
    return [*files, *(path for path in folders if not path.name.endswith(".edgec") and _is_checkpoint(path))]


def _is_checkpoint(folder: Path) -> bool:
    with suppress(EdgecError):
        return bool(locate(str(folder)).weights)
    return False


def _frames(entries: Sequence[Path], folders: Sequence[Path], models: Sequence[Path]) -> list[Path]:
    """Folders with pictures or recordings, then recordings, those with the usual names first."""
    recordings = video.SUFFIXES | BAGS
    found = [each for each in folders if each not in models and not each.name.endswith((".edgec", ".sweep")) and _shows(each)]
    found += [path for path in entries if path.suffix.lower() in recordings and is_file(path)]
    order = {name: place for place, name in enumerate(_FRAMES)}
    return sorted(found, key=lambda path: (order.get(path.stem.lower(), len(order)), path.is_file(), path.name))


def _shows(folder: Path) -> bool:
    suffixes = pictures.SUFFIXES | video.SUFFIXES | BAGS
    with suppress(OSError):
        return any(path.suffix.lower() in suffixes for path in folder.iterdir())
    return False


def _camera(path: Path) -> Size | None:
    """Of its first frame; None where that cannot be read here, or the package that reads it is missing."""
    with suppress(EdgecError):
        height, width = frames.load(str(path), most=1).frames[0].read().shape[:2]
        return Size(height, width)
    return None


def _fitting(camera: Size) -> Size:
    """The camera's size, or one of its shape with a shorter side of 480, in whole patches."""
    scale = min(1.0, _SHORT_SIDE / min(camera.height, camera.width))
    height, width = (max(_PATCH, round(side * scale / _PATCH) * _PATCH) for side in (camera.height, camera.width))
    return Size(height, width)
