"""For RAUC: a .raucb, made by `rauc bundle`, whose image goes into an artifact repository (RAUC 1.13 and later).

RAUC has these for verity bundles alone. A plain one has an update handler instead, which writes nothing. Either way the handlers
in the robot's image install the release from the mounted bundle: see `targets/ota/rauc`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgec.bundle.ota.packer import Given, Payload, Setting, require_program
from edgec.errors import EdgecError, RequestError, TargetError
from edgec.onboard.container import SUFFIX
from edgec.onboard.files import link_or_copy
from edgec.resources import room
from edgec.untrusted import printable

REPOSITORY = "edgec"
"""The artifact repository's name in system.conf."""
_LEAST = (1, 13)
_FORMATS = ("verity", "plain")
_COMPATIBLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,._+()/-]{0,199}")
_HANDLER = "edgec.sh"
_EPOCH = "1"
"""For mksquashfs, in seconds since 1970: times in the file system are not those of the day. RAUC itself has a value too."""


class Rauc:
    """See `edgec.bundle.ota.packer.Packer`."""

    name = "rauc"
    title = "RAUC"
    suffix = ".raucb"
    settings: Sequence[Setting] = (
        Setting("key", "The private key, in PEM, with which RAUC's bundle is signed.", metavar="KEY", required=True),
        Setting("certificate", "The certificate of that key, in PEM; robots' keyring vouches for it.", required=True),
        Setting("chain", "A certificate between that and the keyring's.", many=True),
        Setting("compatible", "What system.conf calls the robot.  [default: the release's name]", kind="text", metavar="TEXT"),
        Setting("format", "Verity, or plain for kernels without dm-verity.  [default: verity]", kind="text", metavar="FORMAT"),
    )

    def check(self, given: Given) -> None:
        """That `rauc` is new enough, and mksquashfs there."""
        program = require_program("rauc", "rauc", "A bundle for RAUC")
        require_program("mksquashfs", "squashfs-tools", "A bundle for RAUC")
        said = _run([program, "--version"]).stdout
        found = re.search(r"(\d+)\.(\d+)", said)
        if found is None or (int(found[1]), int(found[2])) < _LEAST:
            raise TargetError(
                "RAUC is too old: artifact repositories came with 1.13.",
                evidence=f"{program} says {printable(said.strip())[:80]!r}",
                remedy="install RAUC 1.13 or later (Debian 13 has it)",
            )
        if given.get("format") and given["format"] not in _FORMATS:
            raise RequestError(
                "RAUC's bundles are verity or plain here.",
                evidence=f"{given['format']!r} was given",
                remedy="leave --rauc-format out: verity is the default",
            )
        compatible = given.get("compatible")
        if compatible and not _COMPATIBLE.fullmatch(compatible):
            raise RequestError(
                f"RAUC's manifest cannot have {compatible[:80]!a} as compatible.",
                evidence="it is not of letters, digits, spaces and , . _ + - / ( )",
                remedy="give what [system] in the robots' system.conf has as compatible",
            )

    def pack(self, payload: Payload, given: Given, output: Path, work: Path) -> None:
        """Run `rauc bundle` on a folder with the bundle and a manifest."""
        content, image = work / "content", f"{payload.release.name}{SUFFIX}"
        content.mkdir()
        link_or_copy(payload.bundle, content / image)
        (content / "manifest.raucm").write_text(manifest(payload, given, image), encoding="utf-8")
        if given.get("format") == "plain":
            shutil.copyfile(room("targets") / "ota" / "rauc" / _HANDLER, content / _HANDLER)
        chain = [f"--intermediate={path}" for path in given.get("chain") or ()]
        program = require_program("rauc", "rauc", "A bundle for RAUC")
        signing = [f"--cert={given['certificate']}", f"--key={given['key']}", *chain]
        # Whoever makes it, and with which umask, the file system is the same.
        modes = " ".join(f"-p '{path.name} m {0o755 if path.name == _HANDLER else 0o644:o} 0 0'" for path in content.iterdir())
        squashing = f"--mksquashfs-args=-all-root -no-xattrs -root-mode 755 {modes}"
        done = _run([program, "bundle", *signing, squashing, str(content), str(output)])
        if done.returncode != 0:
            lines = [printable(line) for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise EdgecError(
                f"rauc bundle ended with code {done.returncode}.",
                evidence=lines[-6:],
                remedy="see that --rauc-key and --rauc-certificate belong together, and are in PEM",
            )


def manifest(payload: Payload, given: Given, image: str) -> str:
    """RAUC's manifest. What is called `build` is the release's serial."""
    release = payload.release
    form = given.get("format") or _FORMATS[0]
    parts = [
        f"[update]\ncompatible={given.get('compatible') or release.name}\nversion={release.version}\nbuild={release.serial}\n",
        f"[bundle]\nformat={form}\n",
        f"[handler]\nfilename={_HANDLER}\n" if form == "plain" else f"[image.{REPOSITORY}/{release.name}]\nfilename={image}\n",
    ]
    return "\n".join(parts)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {"SOURCE_DATE_EPOCH": _EPOCH, **os.environ, "LC_ALL": "C"}
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, env=environment
    )
