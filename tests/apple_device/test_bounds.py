"""What a runner, or macOS' own commands say may be anything: it ends in a refusal, and never in a bug."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.apple_device.mac import only, write_facts
from tests.device.robot import Robot


@pytest.mark.parametrize("value", ["9" * 5000, "²", "x" * 100_000, "", "-5", "\x1b[2J"], ids=lambda value: ascii(value)[:12])
def test_invalid_facts(tmp_path: Path, value: str) -> None:
    from edgec_device.system import System
    from edgec_mac import machine
    from edgec_onboard.errors import WrongBoard

    names = ("machdep__cpu__brand_string", "hw__physicalcpu", "hw__logicalcpu", "hw__memsize")
    facts = machine.look(System(str(write_facts(tmp_path, value or "''", **dict.fromkeys(names, value)))))
    assert facts.memory_bytes == 0
    assert len(facts.brand) <= 100
    assert facts.brand.isprintable()
    if not value.startswith("9"):
        with pytest.raises(WrongBoard):
            machine.check(facts, "15.0")


def test_a_command_with_endless_output(tmp_path: Path) -> None:
    from edgec_device.system import System
    from edgec_mac import machine

    write_facts(tmp_path)
    (tmp_path / "usr/bin/sw_vers").write_text("#!/bin/sh\nexec yes 15.4.1\n")
    assert machine.look(System(str(tmp_path))).macos == ""


SOUND = {
    "samples_ms": [1.0, 2.0],
    "cpu_ms": 1,
    "warm_up": 5,
    **dict.fromkeys(("load_ms", "import_ms", "first_inference_ms", "process_ms"), 1.0),
    "peak_rss_bytes": 1000,
}
ANSWERS = [
    "[]",
    "not JSON",
    *(json.dumps({**SOUND, "samples_ms": [value]}).replace('"HERE"', "1e309") for value in ("HERE", -1, 0, True)),
    json.dumps({**SOUND, "samples_ms": []}),
    json.dumps({**SOUND, "process_ms": None}),
    json.dumps({**SOUND, "peak_rss_bytes": -1}),
    json.dumps({**SOUND, "first_inference_ms": "1"}),
    "[" * 100_000,
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda text: text[:24])
def test_runners_with_invalid_answers(tool: Any, tmp_path: Path, answer: str) -> None:
    from edgec_device.errors import EngineFailed

    with pytest.raises(EngineFailed) as caught:
        measured(tool, tmp_path, answer)
    assert len(str(caught.value)) < 4000


def test_a_sound_answer_is_measured(tool: Any, tmp_path: Path) -> None:
    """The check of invalid ones can pass, too."""
    result = measured(tool, tmp_path, json.dumps(SOUND))
    assert (result.samples, result.cpu_ms, result.cold_start["peak_rss_bytes"]) == ([1.0, 2.0], 1, 1000)


@pytest.fixture
def tool(artefact: Path, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """It asks a Python that answers what its folder's `says` holds."""
    monkeypatch.setattr(sys, "argv", [str(program)])
    from edgec_device.bundle import read_bundle
    from edgec_device.output import Output
    from edgec_device.session import Options, Session
    from edgec_device.system import System
    from edgec_mac.machine import Mac
    from edgec_mac.tool import CoreMl

    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nfrom pathlib import Path\nPath('answer.json').write_text(Path('says').read_text())\n")
    python.chmod(0o755)
    session = Session(Options(tmp_path / "root"), read_bundle(artefact), System(), Output(as_json=True), Mac())
    tool = CoreMl(session, "Apple M4", "macOS 15.4", python, [])
    assert "answer" in tool.problem or "Error" in tool.problem or "exit code" in tool.problem
    tool._packages = {"coremltools": "9.0"}
    tool.variant = session.bundle.variants[0]
    tool.frames = session.bundle.input
    return tool


def measured(tool: Any, folder: Path, answer: str) -> Any:
    (folder / "says").write_text(answer)
    flags = ["seconds=1", "iterations=2"]
    places = {"work": folder, "log": folder / "log", "on_tick": lambda: None}
    return tool.measure(tool.variant, folder / "w8.mlpackage", b"", tool.frames, flags, **places)


PLANS = [
    None,
    {},
    {"by_device": {}, "fallen": []},
    {"by_device": {"cpu": -1}, "fallen": []},
    {"by_device": {"cpu": 1}, "fallen": [5]},
    {"by_device": {"cpu": 1}, "fallen": [{"operation": 1, "kind": "cast", "device": "cpu"}]},
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_that_makes_no_sense_is_none(tool: Any, plan: Any) -> None:
    tool._observe({"load_ms": 5.0, "placement": plan}, tool.variant)
    assert "placement" not in tool.observed
    assert any("is not known" in remark for remark in tool.observed["remarks"])


def test_a_package_that_changes_while_it_is_measured(mac: Robot, tmp_path: Path) -> None:
    """It was verified, and something else would be activated."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import pathlib, sys\n"
        "if '--runner' in sys.argv and '\"bench\"' in pathlib.Path('job.json').read_text():\n"
        f"    for path in pathlib.Path({str(mac.home / 'engines')!r}).glob('*/w8.mlpackage/Manifest.json'):\n"
        "        content = path.read_bytes()\n"
        "        path.unlink()\n"
        "        path.write_bytes(content + b' ')\n"
    )
    mac.env["PYTHONPATH"] = f"{site}:{mac.env['PYTHONPATH']}"
    done = mac.run("run-all", *only("cpuOnly"))
    assert done.code == 8, done
    assert done.error["kind"] == "EngineChanged"
    assert mac.current is None
