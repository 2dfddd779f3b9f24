"""Three small releases of one robot, and the files that OTA tools take: made with real keys, by the real programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ota.debian import debian

if TYPE_CHECKING:
    from edgec.bundle.packing import Made

OLD, NEW, BAD = "1.0.0", "1.1.0", "1.2.0"
"""`BAD` is signed as it should be, and its model does not compute its golden features."""
NAME = "robot"
_TOOLS = ("rauc", "swupdate", "mender")


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, which an OTA tool trusts."""

    key: Path
    certificate: Path


@dataclass(frozen=True)
class Releases:
    """In `folder`: artefacts by version, keys, and bundles that `make` writes."""

    folder: Path

    def artefact(self, version: str) -> Path:
        """What a release is made of."""
        return self.folder / f"{version}.edgec"

    @property
    def key(self) -> Path:
        """Signs releases; its public key has `.pub` at the end."""
        return self.folder / "release.key"

    @property
    def foreign_key(self) -> Path:
        """Of somebody whom robots do not trust."""
        return self.folder / "foreign.key"

    def pair(self, tool: str, *, foreign: bool = False) -> Pair:
        """What an OTA tool's files are signed with."""
        stem = self.folder / f"{'foreign-' * foreign}{tool}"
        return Pair(stem.with_suffix(".tool"), stem.with_suffix(".pem"))

    @property
    def program(self) -> Path:
        """The board's program, unpacked and compiled for Debian's Python."""
        return self.folder / "program"

    def model(self, version: str) -> str:
        """The SHA-256 of the release's model."""
        return hashlib.sha256((self.artefact(version) / "model" / "model.onnx").read_bytes()).hexdigest()

    def version_of(self, model: Path) -> str:
        """The first release with this model; `BAD` has that of `NEW`."""
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        return next(version for version in (OLD, NEW) if self.model(version) == digest)

    def make(self, version: str, folder: Path, *, foreign: bool = False, foreign_tool: bool = False, form: str = "plain") -> Made:
        """The release's bundle and the tools' files, in `folder`: robot-1.1.0.edgec-bundle, .raucb, …. `form` is RAUC's."""
        from edgec.bundle.keys import Signer
        from edgec.bundle.ota.packer import Wish
        from edgec.bundle.ota.registry import PACKERS
        from edgec.bundle.packing import make_bundle

        pairs = {tool: self.pair(tool, foreign=foreign_tool) for tool in _TOOLS}
        given: dict[str, Any] = {tool: {"key": pair.key, "certificate": pair.certificate} for tool, pair in pairs.items()}
        given["rauc"]["format"], given["mender"]["device-type"] = form, (NAME,)
        wishes = [Wish(PACKERS[tool], given[tool]) for tool in _TOOLS]
        signer = Signer(self.foreign_key if foreign else self.key)
        with debians_programs(self.folder):
            return make_bundle(self.artefact(version), folder / f"{NAME}-{version}.edgec-bundle", signer, wishes=wishes)


def prepare(folder: Path) -> Releases:
    """Build all of it, in half a minute. Raises `Unavailable` as `debian`."""
    from edgec.building import build
    from edgec.bundle.keys import generate
    from edgec.model.spec import Size
    from edgec.request import BuildRequest
    from tests.support.files import save_checkpoint, save_profile
    from tests.support.frames import draw_pictures

    debian()
    releases = Releases(folder)
    profile = folder / "courier.toml"
    save_profile(profile, {"fp32": ["onnxruntime"]})
    draw_pictures(folder / "frames")
    for seed, version in enumerate((OLD, NEW)):
        checkpoint = save_checkpoint(folder / version / NAME, seed=seed)  # the artefact is called after its folder
        build(
            BuildRequest(
                str(checkpoint), target=str(profile), calibration=str(folder / "frames"), size=Size(32, 48), precision="fp32",
                min_fidelity=0.5, iterations=3, output=releases.artefact(version),
            )
        )  # fmt: skip
    with zipfile.ZipFile(releases.artefact(OLD) / "device" / "edgec-cpu.pyz") as archive:
        archive.extractall(releases.program)
    with debians_programs(folder):
        subprocess.run(["python3.13", "-m", "compileall", "-q", str(releases.program)], check=True)
    spoil(Path(shutil.copytree(releases.artefact(NEW), releases.artefact(BAD))))
    for key in (releases.key, releases.foreign_key):
        generate(key)
    for tool in _TOOLS:
        for foreign in (False, True):
            _certify(releases.pair(tool, foreign=foreign), tool)
    return releases


def spoil(artefact: Path) -> None:
    """Let its golden features be others than what its model computes, as another build; every hash is made good."""
    import numpy as np

    from tests.support.forging import BUNDLE, MANIFEST, edit, repair

    for path in (artefact / "golden").glob("expected_*.npz"):
        with np.load(path) as stored:
            arrays = {name: -stored[name] if stored[name].dtype.kind == "f" else stored[name] for name in stored.files}
        np.savez(path, **arrays)
    for name in (BUNDLE, MANIFEST):
        edit(artefact / name, lambda document: document.update(build_key=hashlib.sha256(b"another").hexdigest()))
    repair(artefact)


@contextmanager
def debians_programs(folder: Path) -> Iterator[None]:
    """With Debian 13's programs and Python first in PATH: started by its own loader, with its own libraries."""
    place, root = folder / "programs", debian()
    place.mkdir(exist_ok=True)
    (loader,) = (path for path in root.glob("usr/lib/*/ld-linux-*.so.*"))
    for program in ("rauc", "mksquashfs", "mender-artifact", "python3.13"):
        path = place / program
        path.write_text(f'#!/bin/sh\nexec "{loader}" --library-path "{loader.parent}" "{root}/usr/bin/{program}" "$@"\n')
        path.chmod(0o755)
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(place), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _certify(pair: Pair, subject: str) -> None:
    """A certificate that vouches for itself, for ten years, as both tools accept it."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", str(pair.key)]
    usage = ["-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=emailProtection"]
    made = ["openssl", "req", "-x509", *key, *usage, "-days", "3650", "-subj", f"/CN={subject}", "-out", str(pair.certificate)]
    subprocess.run(made, check=True, capture_output=True)
