"""Many boards on this machine: one real OpenSSH server that listens on a port for each, and a home for each."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.boards.loopback import LATENCY, NAME, SSHD, Keys
from tests.device.robot import Robot, interpreter


@dataclass
class LoopbackFleet:
    """Boards r1, r2, …, as long as it is entered. What each is told in its environment may change from one connection to the
    next."""

    keys: Keys
    folder: Path
    facts: Path
    count: int
    env: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LoopbackFleet:
        with ExitStack() as probes:
            for _ in range(self.count):
                probe = probes.enter_context(socket.socket())
                probe.bind(("127.0.0.1", 0))
                self.ports.append(int(probe.getsockname()[1]))
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        (programs / "python3").symlink_to(interpreter("3.8") or sys.executable)
        lines = [
            *(f"Port {port}" for port in self.ports),
            f"ListenAddress 127.0.0.1\nHostKey {self.keys.folder / 'host'}\nPidFile none\nStrictModes no\nUsePAM no",
            "PermitUserEnvironment yes\nPermitRootLogin prohibit-password\nPasswordAuthentication no",
            "KbdInteractiveAuthentication no\nLogLevel ERROR\nMaxStartups 200\nAuthorizedKeysFile none",
        ]
        for number, port in enumerate(self.ports, 1):
            self.home(number).mkdir()
            self.told(number)
            lines.append(f"Match LocalPort {port}\n AuthorizedKeysFile {self.home(number) / 'authorized_keys'}")
        (self.folder / "sshd_config").write_text("\n".join([*lines, ""]))
        known = self.keys.public("host")
        (self.folder / "known_hosts").write_text("".join(f"[127.0.0.1]:{port} {known}\n" for port in self.ports))
        assert SSHD is not None
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[-1])) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    def home(self, number: int) -> Path:
        return self.folder / f"r{number}"

    def root(self, number: int) -> Path:
        return self.home(number) / ".local" / "share" / "edgec"

    def told(self, number: int, **more: str) -> None:
        """The environment of commands on this board from now on."""
        env = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "EDGEC_FACTS_ROOT": str(self.facts),
            "STANDIN_LATENCY": LATENCY,
            "HOME": str(self.home(number)),
            **self.env,
            **more,
        }
        options = ",".join(f'environment="{name}={value}"' for name, value in env.items())
        (self.home(number) / "authorized_keys").write_text(f"{options} {self.keys.public('client')}\n")

    def cut(self, number: int) -> None:
        """Nobody gets in any more, until it is told something again."""
        (self.home(number) / "authorized_keys").write_text("")

    def write(self, path: Path, numbers: Sequence[int] = (), **settings: object) -> Path:
        """FLEET.toml with these boards, by default all of them. JSON's texts, numbers and lists are TOML's too."""
        user = getpass.getuser()
        known = f"UserKnownHostsFile={self.folder / 'known_hosts'}"
        facts = {
            "name": "fleet",
            "identity": str(self.keys.folder / "client"),
            "ssh_options": [known, "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none"],
            **settings,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
        for number in numbers or range(1, self.count + 1):
            address = f"{user}@127.0.0.1"
            lines.append(f'[[boards]]\nname = "r{number}"\naddress = "{address}"\nport = {self.ports[number - 1]}')
            lines.append(f'tags = ["{"even" if number % 2 == 0 else "odd"}"]')
        path.write_text("\n".join([*lines, ""]))
        return path

    def robot(self, number: int, artefact: Path) -> Robot:
        """To look at what is on a board."""
        return Robot(artefact, self.facts, self.root(number))

    def current(self, number: int) -> str | None:
        """The name of the active engine's folder."""
        link = self.root(number) / NAME / "current"
        return link.readlink().name if link.is_symlink() else None
