"""No figure of a stand-in, or of a pretended board, is ever called `measured on target`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.device.robot import Robot, interpreter

CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from edgec_device import evidence
from edgec_device.output import Output
from edgec_device.system import System
from edgec_jetson.trtexec import Trtexec
from edgec_onboard.measurements import grade
trtexec = Trtexec.find(sys.argv[3], System("/"), Output(True), 60)
trtexec.probe(Path("/tmp"))
here = sys.argv[4] == "here"
print(grade(evidence.doubts(System(sys.argv[2]), trtexec), is_target=not here), len(trtexec.doubts))
"""


def test_with_the_stand_in_nothing_is_measured_on_target(robot: Robot) -> None:
    robot.run("run-all")
    robot.run("run-all", "--again")
    files = [path for path in robot.home.rglob("*") if path.is_file() and path.suffix in (".json", ".log", ".md")]
    assert len(files) > 8
    for path in files:
        text = path.read_text()
        assert '"measured on target"' not in text, path
        assert '"host_is_target": true' not in text, path
    assert robot.current is not None
    for record in ("verify", "bench"):
        assert robot.record(robot.current, record)["evidence"] == "simulated on host"
    # Three independent things give it away, and the facts that are not the machine's own are the fourth.
    doubts = " ".join(robot.record(robot.current, "bench")["doubts"])
    for giveaway in ("EDGEC_FACTS_ROOT", "does not identify itself", "not a compiled program", "made by a stand-in"):
        assert giveaway in doubts


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A compiled program that says what NVIDIA's says: for this one check it takes the place of the real one."""
    source = tmp_path / "trtexec.c"
    source.write_text(
        "#include <stdio.h>\nint main(void) {\n"
        'puts("&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b5] # trtexec --loadEngine=x");\n'
        'puts("[01/01/2026-00:00:00] [I] Selected Device: Orin\\n[01/01/2026-00:00:00] [I] Compute Capability: 8.7");\n'
        "return 1; }\n"
    )
    made = tmp_path / "trtexec"
    try:
        subprocess.run(["cc", "-o", made, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler")
    return made


def grade(program: Path, python: str, root: str, trtexec: Path, place: str = "board") -> list[str]:
    done = subprocess.run(
        [python, "-c", CHECK, str(program), root, str(trtexec), place], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split("\n")[0].rsplit(" ", 1)


def test_with_nvidia_s_trtexec_figures_are_measured_on_target(compiled: Path, program: Path, tmp_path: Path) -> None:
    """The check can pass, too; and pretended facts alone make it fail."""
    python = interpreter("3.8") or sys.executable
    assert grade(program, python, "/", compiled) == ["measured on target", "0"]
    assert grade(program, python, str(tmp_path), compiled) == ["simulated on host", "0"]
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\nexec {compiled} "$@"\n')
    script.chmod(0o755)
    assert grade(program, python, "/", script) == ["simulated on host", "1"]
    # On a machine that is none of the boards, nothing is ever measured on target.
    assert grade(program, python, "/", compiled, "here") == ["measured on host", "0"]
    assert grade(program, python, "/", script, "here") == ["simulated on host", "1"]
