"""A robot with the real Mender client, as the service that fleets have and as a command of people, and this repository's update
module."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ota.mender_server import Server
from benchmarks.ota.releases import NAME, Releases
from benchmarks.ota.robot import TIMEOUT_S, Ended, Robot, Running
from edgec.resources import room

IMAGE = "image-1"
"""What Mender calls the software of a robot that has had no update."""
_EVERY_S = 0.002
_NOWHERE = "http://127.0.0.1:9"


class MenderRobot(Robot):
    """`key`: whose .mender files its Mender takes (PEM, public); anybody's without it. Bundles are for the board's program."""

    def __init__(self, folder: Path, releases: Releases, key: Path | None = None) -> None:
        super().__init__(folder, releases)
        modules, identity = (self.own / "usr/share/mender" / name for name in ("modules/v3", "identity"))
        for place in (modules, identity, self.data / "mender"):
            place.mkdir(parents=True)
        shutil.copy(room("targets") / "ota" / "mender" / "edgec", modules / "edgec")
        (identity / "mender-device-identity").write_text("#!/bin/sh\necho mac=02:00:00:00:00:01\n")
        (identity / "mender-device-identity").chmod(0o755)
        (self.data / "mender" / "device_type").write_text(f"device_type={NAME}\n")
        (self.own / "etc/mender/artifact_info").write_text(f"artifact_name={IMAGE}\n")
        self._settings = {"ArtifactVerifyKey": "/etc/mender/key.pem"} if key else {}
        if key:
            shutil.copy(key, self.own / "etc/mender/key.pem")
        self.connect(_NOWHERE)

    def connect(self, url: str) -> None:
        """Write mender.conf: it asks this server once a second."""
        every = dict.fromkeys(("UpdatePollIntervalSeconds", "InventoryPollIntervalSeconds", "RetryPollIntervalSeconds"), 1)
        settings = {"ServerURL": url, "DBus": {"Enabled": False}, **every, **self._settings}
        (self.own / "etc/mender/mender.conf").write_text(json.dumps(settings))

    @property
    def tree(self) -> Path:
        """Mender's folder for the update that is under way."""
        return self.data / "mender/modules/v3/payloads/0000/tree"

    @property
    def passed(self) -> bool:
        """Whether Mender has committed, and the way back is still open: on a full disk until the next update."""
        return (self.data / "edgec" / "mender-commit").exists()

    @property
    def update_is_open(self) -> bool:
        """Whether an update is neither committed by Mender nor undone."""
        return super().update_is_open and not self.passed

    def mender(self, *words: str) -> Ended:
        """`mender install`, `commit`, `rollback`, `show-artifact`, as people type them."""
        return self.run("mender", "--no-syslog", *words)

    def take(self, file: Path) -> Ended:
        """`mender install` of a file, as from a stick."""
        shutil.copy(file, self.own / "media")
        return self.mender("install", f"/media/{file.name}")

    @property
    def artifact(self) -> str:
        """What Mender says is installed."""
        return self.mender("show-artifact").output.splitlines()[-1]

    @contextmanager
    def service(self, server: Server) -> Iterator[Running]:
        """The client as a service of a fleet's server. At the end of the context its power fails."""
        self.connect(server.url)
        with self.started("mender", "--no-syslog", "daemon") as running:
            yield running

    def install(  # type: ignore[override]
        self, tool: str, file: Path, after: float | None = None, act: Callable[[], None] | None = None
    ) -> Ended:
        """The server deploys the file, and the service does what there is to do; code 0 is a success, 1 a failure. `after` and
        `act` are as in `run`."""
        with Server() as server, self.service(server) as running:
            deployment = server.deploy(file, file.stem, NAME)
            if after is not None and not server.wait(lambda: deployment.ended, after):
                if act is None:
                    running.power_off()
                    return running.ended()
                act()
            server.wait(lambda: deployment.ended or running.process.poll() is not None, TIMEOUT_S, 1.0)
            # It has cleaned up when it asks again.
            asked = server.asked
            server.wait(lambda: server.asked > asked, TIMEOUT_S)
            code = 0 if deployment.ended in ("success", "already-installed") else 1
            return Ended(code, running.text, running.ended().seconds)

    def cut(self, file: Path, moment: Callable[[], object]) -> bool:
        """The server deploys the file, and power fails at this moment. Whether it came."""
        with Server() as server, self.service(server):
            deployment = server.deploy(file, file.stem, NAME)
            server.wait(lambda: moment() or deployment.ended, TIMEOUT_S, _EVERY_S)
            return bool(moment())

    def settle(self) -> str:
        """Power is back: the service ends what it had begun, until it asks for the next deployment. What does not hold then;
        nothing if Mender and the board agree on what is installed."""
        with Server() as server, self.service(server) as running:
            asked, said = server.wait(lambda: server.asked, TIMEOUT_S), running.text
        if not asked:
            return f"its service does not come back: {said[-3000:]}"
        artifact, active = self.artifact, self.active()
        if self.update_is_open:
            return f"the update is neither committed nor undone: {said[-3000:]}"
        return "" if artifact == f"{NAME}-{active}" else f"Mender has {artifact}, and {active} is active: {said[-3000:]}"


def public_key(private: Path) -> Path:
    """In PEM, beside the private one."""
    path = private.with_suffix(".pub")
    command = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path
