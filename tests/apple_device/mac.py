"""A Mac made of files: an artefact, commands that tell facts, a stand-in for coremltools, and the program as a real process."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from edgec.building import build
from edgec.records.report import CandidateFigures
from edgec.request import BuildRequest
from tests.device.robot import Robot
from tests.support import heads
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parent / "standin"
SOURCES = ROOT / "targets" / "apple" / "device"
WIDTH = 64
"""Of the checkpoint's features."""
UNITS = ("cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all")
ENVIRONMENT = {
    "PYTHONPATH": ":".join(map(str, (STANDIN, ROOT, sysconfig.get_path("purelib")))),
    # Small products, and other tests need the cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""With which a Python finds the stand-in before the real coremltools."""
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


def write_facts(folder: Path, macos: str = "15.4.1", **changes: str) -> Path:
    """`sysctl`, `sw_vers`, `pmset` and `memory_pressure` in their places. `changes` are by name, dots as double underscores."""
    facts = M4_PRO | {name.replace("__", "."): value for name, value in changes.items()}
    cases = "\n".join(f"'-n {name}') echo '{value}';;" for name, value in facts.items())
    write_command(folder / "usr/sbin/sysctl", f"{cases}\n*) echo \"sysctl: unknown oid '$2'\" >&2; exit 1;;")
    write_command(folder / "usr/bin/sw_vers", f"-productVersion) echo {macos};;\n-buildVersion) echo 24E263;;")
    saving = "System-wide power settings:\nCurrently in use:\n lowpowermode         0"
    battery = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged"
    write_command(folder / "usr/bin/pmset", f"'-g batt') echo \"{battery}\";;\n-g) echo '{saving}';;")
    free = "The system has 25769803776 (1572864 pages with a page size of 16384).\nSystem-wide memory free percentage: 50%"
    write_command(folder / "usr/bin/memory_pressure", f"-Q) echo '{free}';;")
    return folder


def write_command(path: Path, cases: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\nesac\n')
    path.chmod(0o755)


def candidates(mac: Robot) -> dict[str, CandidateFigures]:
    """Of the report that edgec makes of what was measured, by compute units."""
    return {candidate.name.partition("-")[2]: candidate for candidate in mac.report().candidates}


def only(*units: str) -> list[str]:
    """The option for these compute units."""
    return [part for name in units for part in ("--variant", f"w8-{name}")]
