"""Many boards on this machine: one real OpenSSH server, and for each board a name, a key that opens it, and a home."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
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
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    _let_in: dict[int, str] = field(default_factory=dict)

    def __enter__(self) -> LoopbackFleet:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        (programs / "python3").symlink_to(interpreter("3.8") or sys.executable)
        for number in range(1, self.count + 1):
            self.home(number).mkdir()
            self._key(number).parent.mkdir(exist_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key(number)], check=True)
            self.told(number)
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.keys.folder / 'host'}\nPidFile none\nStrictModes no\n"
            f"UsePAM no\nPermitUserEnvironment yes\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nLogLevel ERROR\nMaxStartups 200\nAuthorizedKeysFile {self._authorized}\n"
        )
        (self.folder / "known_hosts").write_text(f"boards {self.keys.public('host')}\n")
        assert SSHD is not None
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=log)
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
        self._let_in[number] = f"{options} {self._key(number).with_suffix('.pub').read_text().strip()}"
        self._write_keys()

    def cut(self, number: int) -> None:
        """Nobody gets in any more, until it is told something again."""
        del self._let_in[number]
        self._write_keys()

    def write(self, path: Path, numbers: Sequence[int] = (), **settings: object) -> Path:
        """FLEET.toml with these boards, by default all of them. JSON's texts, numbers and lists are TOML's too."""
        ways = ["HostName=127.0.0.1", "HostKeyAlias=boards", f"UserKnownHostsFile={self.folder / 'known_hosts'}"]
        facts = {
            "name": "fleet",
            "port": self.port,
            "ssh_options": [*ways, "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none"],
            **settings,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
        for number in numbers or range(1, self.count + 1):
            tag = "even" if number % 2 == 0 else "odd"
            lines.append(f'[[boards]]\naddress = "r{number}"\nidentity = "{self._key(number)}"\ntags = ["{tag}"]')
        path.write_text("\n".join([*lines, ""]))
        return path

    @property
    def _authorized(self) -> Path:
        return self.folder / "authorized_keys"

    def _key(self, number: int) -> Path:
        return self.folder / "keys" / f"r{number}"

    def _write_keys(self) -> None:
        work = self._authorized.with_suffix(".new")
        work.write_text("\n".join([*self._let_in.values(), ""]))
        work.replace(self._authorized)

    def robot(self, number: int, artefact: Path) -> Robot:
        """To look at what is on a board."""
        return Robot(artefact, self.facts, self.root(number))

    def current(self, number: int) -> str | None:
        """The name of the active engine's folder."""
        link = self.root(number) / NAME / "current"
        return link.readlink().name if link.is_symlink() else None
