"""`edgec targets` and `edgec doctor`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgec.backends.profiles import family, list_profiles
from edgec.cli import run
from edgec.cli.console import out
from edgec.lowering import registry
from edgec.lowering.base import Availability, LoweredModel, Lowering, Runner
from edgec.lowering.tensorrt.compiler import machines


class Missing(Lowering):
    """A runtime that is not installed."""

    def __init__(self, name: str) -> None:
        self.name = self.title = name

    def availability(self) -> Availability:
        return Availability(False, problem=f"No module named '{self.name}'", install="pip install 'edgec[cpu]'")

    def lower(self, hub: object, plan: object, directory: Path) -> LoweredModel:
        raise NotImplementedError

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        raise NotImplementedError


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    kept = dict(registry.all_lowerings())
    monkeypatch.setattr(registry, "all_lowerings", lambda: kept | {name: Missing(name) for name in names})


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "_width", 160)  # $COLUMNS counts only where nobody has made the console yet


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "list"]) == 0
    shown = capsys.readouterr().out
    for profile in list_profiles():
        assert f"{profile.name} " in shown
    assert "cpu is cpu-" in shown


def test_list_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == [profile.name for profile in list_profiles()]
    assert any(each["host_lacks"] == [] for each in found)
    assert all(each["available"] for each in found)
    assert run(["targets", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert run(["targets", "list", "jetson", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [each for each in found if each["family"] == "jetson"]


def test_a_missing_runtime_is_shown_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "openvino")
    assert run(["targets"]) == 0
    shown = capsys.readouterr().out
    assert "openvino is not installed" in shown
    assert "pip install 'edgec[cpu]'" in shown
    assert "unavailable: no runtime" not in shown


def test_a_target_without_any_runtime_is_unavailable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without(monkeypatch, "openvino", "onnxruntime", "tensorrt", "coreml")
    assert run(["targets", "list"]) == 0
    assert capsys.readouterr().out.count("unavailable: no runtime") == len(list_profiles())
    assert run(["targets", "show", "cpu-raspberry-pi-5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["available"] is False
    assert found["runtimes"]["onnxruntime"]["install"] == "pip install 'edgec[cpu]'"


@pytest.mark.parametrize("name", ["cpu", *(profile.name for profile in list_profiles())])
def test_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "show", name]) == 0
    shown = capsys.readouterr().out
    assert "Promises" in shown
    assert shown.count("Source: ") >= 2


def test_show_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "robot.toml").write_text('extends = "cpu-raspberry-pi-5"\nname = "courier"\nmemory_gib = 4\n')
    assert run(["targets", "show", str(tmp_path / "robot.toml")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("courier: Raspberry Pi 5")
    assert "4 GiB" in shown


def test_show_a_board_with_its_power_modes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "show", "jetson-orin-nano"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "6.2 (TensorRT 10.3)",
        "nvidia,p3767-0005",
        "MAXN_SUPER",
        "33.4",
        "dense peaks",
        "builds for it, and simulates it",
    ):
        assert words in shown
    assert "requires" not in shown


def test_show_the_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "show", "jetson"]) == 0
    shown = capsys.readouterr().out
    boards = [profile.name for profile in family("jetson")]
    assert [line.split(":")[0] for line in shown.splitlines() if line.split(":")[0] in boards] == boards
    assert run(["targets", "show", "jetson", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == boards


def test_show_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "show", "cpu-arm64-dotprd"]) == 5
    assert "similar names: cpu-arm64-dotprod" in capsys.readouterr().err


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in ("Python", "flags", "usable of", "memory", "OpenVINO", "ONNX Runtime", "cache", "ready for: cpu"):
        assert word in shown


def test_doctor_for_scripts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "entry").write_bytes(b"12345")
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ready"] == ["cpu"]
    assert found["missing"] == []
    assert found["cache"] == {"path": str(tmp_path / "cache"), "bytes": 5, "writable": True}
    assert "fp32" in found["precisions"]
    assert not (tmp_path / "work").exists()


def test_doctor_knows_nvidia_s_compiler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version, core and SMs; or, without it, the line that adds it."""
    monkeypatch.setattr(machines, "installed_version", lambda: "1.7.1.116")
    assert run(["doctor"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "TensorRT-RTX 1.7.1.116 (TensorRT 11.4), compiles for SM 75, 80, 86, 89, 120, 121" in shown
    assert run(["doctor", "--json"]) == 0
    compiler = json.loads(capsys.readouterr().out)["nvidia_compiler"]
    assert (compiler["available"], compiler["core"], compiler["sms"][-1]) == (True, "11.4", "121")
    monkeypatch.setattr(machines, "installed_version", lambda: "")
    assert run(["doctor"]) == 0
    assert "not installed; to add it: pip install 'edgec[nvidia]'" in " ".join(capsys.readouterr().out.split())


def test_which_sms_a_version_compiles_for() -> None:
    assert machines.sms_of("1.4.0.76") == ("75", "80", "86", "89", "120")
    assert machines.sms_of("1.10.0.1") == machines.SMS
    assert "121" not in machines.sms_of("unknown")


def test_doctor_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "not" / "there"))
    assert run(["doctor"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without(monkeypatch, "openvino")
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "ready for: cpu" in shown
    assert "missing: openvino: No module named 'openvino'; to add it: pip install 'edgec[cpu]'" in shown


def test_doctor_where_nothing_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without(monkeypatch, "openvino", "onnxruntime")
    assert run(["doctor"]) == 5
    assert "ready for: nothing" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert run(["doctor"]) == 0
    assert "set EDGEC_CACHE_DIR" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["targets"], ["targets", "show", "cpu"], ["doctor"], ["bench", "--help"]])
def test_neither_torch_nor_onnx_is_imported(command: list[str]) -> None:
    program = "import sys; from edgec.cli import run; code = run(sys.argv[1:]); print('MODULES', *sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert modules[0] == "MODULES"
    assert not {"torch", "onnx"} & set(modules)
