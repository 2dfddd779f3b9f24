"""A robot with the real Mender client, as a command of people and as the daemon that fleets have, and this repository's update
module."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ota.debian import debian
from benchmarks.ota.robot import Ended, Robot, Running
from edgec.resources import room

DEVICE_TYPE = "courier"
IMAGE = "image-1"
"""What Mender calls the software of a robot that has had no update."""
_UPDATE = "usr/lib/edgec/update.mender"
_NOWHERE = "http://127.0.0.1:9"


class MenderRobot(Robot):
    """It does not check the .mender's own signature unless it is given a `key` (PEM, public); the bundle's in it always."""

    def __init__(self, folder: Path, program: Path, trust: Sequence[Path], *, key: Path | None = None) -> None:
        super().__init__(folder, program, trust)
        modules, identity = (self.own / "usr/share/mender" / name for name in ("modules/v3", "identity"))
        for place in (modules, identity, self.data / "mender"):
            place.mkdir(parents=True)
        shutil.copy(room("targets") / "ota" / "mender" / "edgec", modules / "edgec")
        (identity / "mender-device-identity").write_text("#!/bin/sh\necho mac=02:00:00:00:00:01\n")
        (identity / "mender-device-identity").chmod(0o755)
        (self.data / "mender" / "device_type").write_text(f"device_type={DEVICE_TYPE}\n")
        (self.own / "etc/mender/artifact_info").write_text(f"artifact_name={IMAGE}\n")
        if key is not None:
            shutil.copy(key, self.own / "etc/mender/key.pem")
        self._key = key is not None
        self.connect(_NOWHERE)

    def connect(self, url: str) -> None:
        """Write mender.conf: ask the server once a second."""
        every = dict.fromkeys(("UpdatePollIntervalSeconds", "InventoryPollIntervalSeconds", "RetryPollIntervalSeconds"), 1)
        settings = {"ServerURL": url, "DBus": {"Enabled": False}, **every}
        if self._key:
            settings["ArtifactVerifyKey"] = "/etc/mender/key.pem"
        (self.own / "etc/mender/mender.conf").write_text(json.dumps(settings))

    def mender(self, *words: str) -> Ended:
        """`mender install`, `commit`, `rollback`, `show-artifact`, as people type them."""
        return self.run("mender", "--no-syslog", *words)

    def install(self, file: Path) -> Ended:
        """`mender install` of a file, which lies outside /var/lib."""
        shutil.copy(file, self.own / _UPDATE)
        return self.mender("install", f"/{_UPDATE}")

    @property
    def artifact(self) -> str:
        """What Mender says is installed."""
        return self.mender("show-artifact").output.splitlines()[-1]

    @contextmanager
    def daemon(self) -> Iterator[Running]:
        """The client as a service, whose power fails at the end of the context."""
        with self.started("mender", "--no-syslog", "daemon") as running:
            yield running


def artifact_program(folder: Path) -> Path:
    """A `mender-artifact` that this host can run: that of the robots' Debian, with its own libraries. Raises `Unavailable`."""
    root, path = debian(), folder / "mender-artifact"
    (loader,) = (path for path in (root / "usr/lib").glob("*-linux-gnu/ld-linux-*.so.*"))
    path.write_text(f'#!/bin/sh\nexec "{loader}" --library-path "{loader.parent}" "{root}/usr/bin/mender-artifact" "$@"\n')
    path.chmod(0o755)
    return path
