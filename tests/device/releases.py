"""Signed releases of a robot's artefact, made by `edgec bundle`'s own functions."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgec.bundle.keys import Signer, generate
from edgec.bundle.signing import sign_measurement, sign_release
from edgec.onboard.container import MEASURED, RELEASE, SUFFIX, write_bundle
from tests.device.robot import Robot
from tests.support import forging

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Key:
    """A key pair. `public` is what boards get."""

    private: Path

    @property
    def public(self) -> Path:
        return self.private.with_name(self.private.name + ".pub")

    @classmethod
    def new(cls, folder: Path, name: str) -> Key:
        generate(folder / name)
        return cls(folder / name)


def sign(folder: Path, key: Key, version: str = "1.4.0", *, name: str = "robot", expires: str | None = None) -> Path:
    """Make a signed release of the artefact that lies in the folder."""
    major, minor, patch = map(int, version.split("."))
    release = {"schema_version": 1, "name": name, "version": version, "serial": (major * 100 + minor) * 100 + patch}
    (folder / RELEASE).parent.mkdir(exist_ok=True)
    (folder / RELEASE).write_text(json.dumps({**release, "expires": expires}))
    manifest = folder / "manifest.json"
    if not manifest.exists():
        manifest.write_text("{}")
    measured = {"schema_version": 1, "artefact_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()}
    (folder / MEASURED).write_text(json.dumps({**measured, "by": "nobody", "created": "2026-11-30T00:00:00Z"}))
    sign_release(folder, Signer(key.private))
    sign_measurement(folder, Signer(key.private))
    return folder


def signed(source: Path, folder: Path, key: Key, version: str = "1.4.0", *, change: Change | None = None, **release: str) -> Path:
    """A copy of the artefact, `change`d, as a signed release."""
    shutil.copytree(source, folder)
    if change is not None:
        change(folder)
    return sign(folder, key, version, **release)


def as_file(folder: Path) -> Path:
    """The release as one file."""
    path = folder.with_name(folder.name + SUFFIX)
    with path.open("wb") as file:
        write_bundle(folder, file)
    return path


def built_again(folder: Path) -> None:
    """As of another build: other weights, so that engines are built anew."""
    graph = folder / "model" / "int8.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"int8", b"INT8"))
    list_again(folder)
    forging.edit(folder / "device" / "bundle.json", lambda bundle: bundle.update(build_key="cd" * 32))


def list_again(folder: Path) -> None:
    """Let bundle.json be of the files that are there now."""

    def change(bundle: dict[str, list[dict[str, object]]]) -> None:
        for file in bundle["files"]:
            content = (folder / str(file["path"])).read_bytes()
            file.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    forging.edit(folder / "device" / "bundle.json", change)


def trusting(robot: Robot, *keys: Key) -> Robot:
    """The robot, with these keys on it."""
    for number, key in enumerate(keys):
        place = robot.root / "trust" / f"{number}.pem"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(key.public, place)
    return robot


def seal_again(record: Path) -> None:
    """Let a record of the board's program have the seal of what it says now."""
    document = json.loads(record.read_text())
    document.pop("record_sha256")
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    record.write_text(json.dumps({**document, "record_sha256": digest}))
