"""Boards on this machine: a real OpenSSH server each, a Jetson's facts, trtexec's stand-in, and a Python as old as may be."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import CheckpointFacts, FrameSetFacts, Golden, LicenceFacts, Manifest, Tensor
from tests.device.robot import COUNT, Robot, interpreter, write_bundle
from tests.support.processes import running

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
NAME = "small-jetson-64x96"
LATENCY = "int8=2,fp16=3,fp32=5"
SECONDS = 60
_LISTS = ("outputs", "classes", "reads")


def write_artefact(folder: Path) -> Path:
    """`write_bundle`'s, with a manifest: what `edgec build --target jetson` writes, as far as deploying looks at it."""
    write_bundle(folder)
    return write_manifest(folder)


def write_manifest(folder: Path) -> Path:
    """Once more after a change."""
    bundle = json.loads((folder / "device" / "bundle.json").read_text())
    (folder / "manifest.json").unlink(missing_ok=True)
    tensor = {"name": "frames", "dtype": "uint8", "shape": tuple(bundle["input"]["shape"])}
    manifest = Manifest(
        edgec_version=bundle["edgec_version"],
        build_key=bundle["build_key"],
        checkpoint=CheckpointFacts(
            name="small", form="random", arch="64/2/1", sha256="0" * 64, random_weights=True, normalisation="imagenet",
            mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), licence=LicenceFacts(name="none", spdx="", reason="a test's"),
        ),
        calibration=None,
        validation=FrameSetFacts(name="pictures", sha256="1" * 64, frames=COUNT),
        target="jetson",
        runtime="tensorrt",
        precision="int8",
        execution_precision="",
        entry="model/int8.onnx",
        input=Tensor(**tensor),
        outputs=tuple(Tensor(**{**each, "shape": tuple(each["shape"])}) for each in bundle["outputs"]),
        operations={},
        fidelity=(),
        golden=Golden(
            frames=FRAMES, expected_float32=EXPECTED_FLOAT32, expected_shipped=EXPECTED_SHIPPED, count=COUNT,
            relative_tolerance=0.1, min_cosine=0.995,
        ),
        heads=tuple(HeadFacts(**{**head, **{name: tuple(head[name]) for name in _LISTS}}) for head in bundle.get("heads", ())),
        tools={},
        files=tuple(build_manifest_files(folder)),
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder


@dataclass
class Keys:
    """Of the client and of the servers, and what the client knows of servers."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("client", "stranger", "host", "other-host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        self.known_hosts.touch()

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()


@dataclass
class Board:
    """A server that lets the client's key in, as long as it is entered."""

    keys: Keys
    folder: Path
    facts: Path
    env: dict[str, str]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    identity: str = "client"
    python: str = ""
    """What `python3` is there; otherwise one as old as may be."""

    def __enter__(self) -> Board:
        self.folder.mkdir()
        self.told()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.keys.folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPermitUserEnvironment yes\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\n"
        )
        self.know()
        assert SSHD is not None
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    def told(self, **more: str) -> None:
        """What the environment of commands on the board is, from the next connection on."""
        python = self.python or interpreter("3.8") or sys.executable
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        if not (programs / "python3").exists():
            (programs / "python3").symlink_to(python)
        env = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "EDGEC_FACTS_ROOT": str(self.facts),
            "STANDIN_LATENCY": LATENCY,
            "HOME": str(self.folder),
            **self.env,
            **more,
        }
        options = ",".join(f'environment="{name}={value}"' for name, value in env.items())
        (self.folder / "authorized_keys").write_text(f"{options} {self.keys.public('client')}\n")

    def know(self, host_key: str | None = "host") -> None:
        """What the client knows this server by."""
        mine = f"[127.0.0.1]:{self.port} "
        lines = [line for line in self.keys.known_hosts.read_text().splitlines() if not line.startswith(mine)]
        if host_key is not None:
            lines.append(mine + self.keys.public(host_key))
        self.keys.known_hosts.write_text("\n".join([*lines, ""]))

    @property
    def address(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def label(self) -> str:
        return f"127.0.0.1-{self.port}"

    @property
    def root(self) -> Path:
        return self.folder / ".local" / "share" / "edgec"

    @property
    def options(self) -> list[str]:
        """Of every command that goes there: nothing of this user's own ssh counts."""
        settings = [f"UserKnownHostsFile={self.keys.known_hosts}", "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none"]
        given = [part for setting in settings for part in ("--ssh-option", setting)]
        return ["--identity", str(self.keys.folder / self.identity), *given]

    def deploy(self, artefact: Path, *more: str | Path) -> list[str]:
        return ["deploy", str(artefact), self.address, *self.options, *map(str, more)]

    def robot(self, artefact: Path) -> Robot:
        """To look at what is on it."""
        return Robot(artefact, self.facts, self.root)

    @property
    def current(self) -> str | None:
        link = self.root / NAME / "current"
        return link.readlink().name if link.is_symlink() else None


def gone(*words: str, seconds: float = 10) -> Sequence[str]:
    """What of these is still there after that time."""
    deadline = time.monotonic() + seconds
    while (left := running(*words)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
