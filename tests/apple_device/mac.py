"""A Mac made of files: an artefact, commands that tell facts, a stand-in for coremltools, and the program as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgec.backends.apple.program import MAC_PROGRAM
from edgec.building import build
from edgec.records.consistency import read_report
from edgec.records.report import CandidateFigures, Report
from edgec.request import BuildRequest
from tests.support import heads
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parent / "standin"
SOURCES = ROOT / "targets" / "apple" / "device"
SECONDS = 60
WIDTH = 64
"""Of the checkpoint's features."""
M4_PRO = {
    "machdep.cpu.brand_string": "Apple M4 Pro",
    "hw.optional.arm64": "1",
    "hw.physicalcpu": "14",
    "hw.logicalcpu": "14",
    "hw.memsize": "25769803776",
    "kern.hv_vmm_present": "0",
    "sysctl.proc_translated": "0",
}


def make_artefact(folder: Path) -> Path:
    """Of a small checkpoint with two heads, as edgec builds it."""
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    sources = [heads.segmentation(folder, WIDTH), heads.linear(folder, WIDTH)]
    request = BuildRequest(
        str(folder / "checkpoint"),
        target="apple",
        calibration=str(folder / "frames"),
        precision="w8",
        size=SMALL,
        min_fidelity=0.98,
        heads=tuple(f"{head.name}={head.path}" for head in sources),
        output=folder / "robot.edgec",
    )
    return build(request).directory


def unpacked(artefact: Path, folder: Path) -> Path:
    with zipfile.ZipFile(artefact / MAC_PROGRAM) as archive:
        archive.extractall(folder)
    return folder


def write_facts(folder: Path, macos: str = "15.4.1", **changes: str) -> Path:
    """`sysctl`, `sw_vers` and `pmset` in their places. `changes` are by name, dots as double underscores."""
    facts = M4_PRO | {name.replace("__", "."): value for name, value in changes.items()}
    cases = "\n".join(f"'-n {name}') echo '{value}';;" for name, value in facts.items())
    _command(folder / "usr/sbin/sysctl", f"{cases}\n*) echo \"sysctl: unknown oid '$2'\" >&2; exit 1;;")
    _command(folder / "usr/bin/sw_vers", f"-productVersion) echo {macos};;\n-buildVersion) echo 24E263;;")
    saving = "System-wide power settings:\nCurrently in use:\n lowpowermode         0"
    battery = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged"
    _command(folder / "usr/bin/pmset", f"'-g batt') echo \"{battery}\";;\n-g) echo '{saving}';;")
    return folder


def _command(path: Path, cases: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\nesac\n')
    path.chmod(0o755)


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


@dataclass
class Mac:
    """`program` is what Python runs; without `facts` it is the machine itself."""

    artefact: Path
    program: Path
    facts: Path | None
    output: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str | Path) -> list[str]:
        return [
            sys.executable,
            "-W",
            "error",
            str(self.program),
            str(self.artefact),
            "-o",
            str(self.output),
            *map(str, arguments),
        ]

    def environment(self, faults: str = "") -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STANDIN_", "PYTHON", "EDGEC_FACTS"))}
        facts = {} if self.facts is None else {"EDGEC_FACTS_ROOT": str(self.facts)}
        kept |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # small products, and other tests need the cores
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, (STANDIN, ROOT))), "STANDIN_FAULTS": faults, **facts, **self.env}

    def run(self, *arguments: str | Path, faults: str = "") -> Done:
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(faults),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def place(self) -> Path:
        return self.output / "measurements.json"

    def report(self) -> Report:
        return read_report(self.place)

    def candidates(self) -> dict[str, CandidateFigures]:
        """By compute units."""
        return {candidate.name.rpartition(" on ")[2]: candidate for candidate in self.report().candidates}
