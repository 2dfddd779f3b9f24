"""Releases of one small artefact, to be installed one after the other: a good one, a better one, and one that must not be used."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgec.backends.cpu.program import cpu_program
from edgec.bundle.keys import Signer, generate
from edgec.bundle.ota.packer import Wish
from edgec.bundle.packing import make_bundle
from edgec.onboard.container import SUFFIX

if TYPE_CHECKING:
    import onnx

NAME = "courier"
OLD, NEW, BAD, FORGED = "1.0.0", "1.1.0", "1.2.0", "1.3.0"
"""`BAD` is signed and whole, and does not compute what its golden frames say; `FORGED` is signed with a key that nobody trusts."""
_VARIANT = "onnxruntime-fp32"


@dataclass(frozen=True)
class Releases:
    """In one folder: bundles, beside them what OTA tools take, and two pairs of keys. `engines` has the SHA-256 of each
    release's model by its version."""

    folder: Path
    program: Path
    engines: dict[str, str]

    @property
    def key(self) -> Path:
        """Private; `key.pub` is what robots trust."""
        return self.folder / "key"

    @property
    def other_key(self) -> Path:
        """Private, and trusted by nobody."""
        return self.folder / "other"

    def file(self, version: str, suffix: str = SUFFIX) -> Path:
        """The release as a bundle, or as the file with this suffix."""
        return self.folder / f"{NAME}-{version}{suffix}"

    def active(self, data: Path) -> str:
        """The version whose engine is active in a robot's /var/lib/edgec; empty if none is. Raises `AssertionError` unless it is
        whole and was verified."""
        links = [link for link in data.glob("*/current") if link.is_symlink()]
        if not links:
            return ""
        (link,) = links
        engine, verify = (json.loads((link / f"{name}.json").read_text()) for name in ("engine", "verify"))
        (name,) = engine["files"]
        content = hashlib.sha256((link / name).read_bytes()).hexdigest()
        assert content == engine["sha256"] == verify["engine_sha256"], f"{link} is not whole"
        assert verify["passed"] is True, f"{link} was not verified"
        return next(version for version, digest in self.engines.items() if digest == content)


def make_releases(folder: Path, wishes: Callable[[Path], Sequence[Wish]]) -> Releases:
    """Build one artefact for this machine, and make releases of it. `wishes` are asked for once there are keys in the folder.
    The folder is empty."""
    first = _build(folder)
    program = folder / "edgec-cpu.pyz"
    program.write_bytes(cpu_program().archive())
    better, bad = folder / "better.edgec", folder / "bad.edgec"
    _change(first, better, lambda model: model.graph.__setattr__("doc_string", "better"))
    _change(first, bad, _turn_weights)
    for name in ("key", "other"):
        generate(folder / name)
    engines = {}
    for version, artefact, key in ((OLD, first, "key"), (NEW, better, "key"), (BAD, bad, "key"), (FORGED, better, "other")):
        make_bundle(artefact, folder / f"{NAME}-{version}{SUFFIX}", Signer(folder / key), wishes=wishes(folder))
        engines.setdefault(version, hashlib.sha256(_model(artefact).read_bytes()).hexdigest())
    del engines[FORGED]  # the same model as that of `NEW`
    return Releases(folder, program, engines)


def _build(folder: Path) -> Path:
    from edgec.building import build
    from edgec.request import BuildRequest
    from tests.support.files import save_checkpoint, save_profile
    from tests.support.frames import draw_pictures
    from tests.support.models import SMALL

    checkpoint, frames = save_checkpoint(folder / "checkpoint"), folder / "frames"
    draw_pictures(frames)
    target = save_profile(folder / f"{platform.machine()}.toml", {"fp32": ["onnxruntime"]})
    request = BuildRequest(
        str(checkpoint), target=str(target), calibration=str(frames), size=SMALL, iterations=3, precision="fp32",
        output=folder / "first.edgec",
    )  # fmt: skip
    return build(request).directory


def _model(artefact: Path) -> Path:
    document = json.loads((artefact / "device" / "bundle.json").read_text())
    return artefact / next(str(each["path"]) for each in document["variants"] if each["name"] == _VARIANT)


def _change(artefact: Path, copy: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """An artefact with another model, by somebody who knows about its hashes."""
    import onnx

    from tests.support.forging import BUNDLE, MANIFEST, edit, repair

    shutil.copytree(artefact, copy)
    key = hashlib.sha256(copy.name.encode()).hexdigest()
    for name in (BUNDLE, MANIFEST):  # releases lie in folders of their own
        edit(copy / name, lambda document: document.update(build_key=key))
    path = _model(copy)
    model = onnx.load_from_string(path.read_bytes())
    change(model)
    path.unlink()  # others may share what is on the disk
    path.write_bytes(model.SerializeToString())
    repair(copy)


def _turn_weights(model: onnx.ModelProto) -> None:
    from onnx import numpy_helper

    weights = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    turned = numpy_helper.to_array(weights)[..., ::-1].copy()
    weights.CopyFrom(numpy_helper.from_array(turned, weights.name))
