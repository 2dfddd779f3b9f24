"""What an artefact, a worker, or macOS' own commands say may be anything: it ends in a refusal, and never in a bug."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from edgec.records.manifest import MANIFEST
from tests.apple_device.mac import Mac, write_facts


@pytest.fixture
def own(artefact: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(artefact, tmp_path / "own.edgec"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relative_tolerance", "1" + "0" * 400),
        ("relative_tolerance", "1e300"),
        ("relative_tolerance", "1e309"),
        ("relative_tolerance", "NaN"),
        ("relative_tolerance", '"nan"'),
        ("relative_tolerance", "true"),
        ("min_cosine", "-1"),
        ("min_cosine", '"0.99"'),
        ("count", str(2**63)),
        ("count", "9" * 5000),
        ("count", "2.0"),
        ("count", "[]"),
    ],
    ids=lambda value: value[:12],
)
def test_numbers_of_a_manifest(own: Path, name: str, value: str) -> None:
    from edgec_mac.artefact import read_artefact
    from edgec_onboard.errors import ArtefactError

    document = json.loads((own / MANIFEST).read_text())
    document["golden"][name] = "HERE"
    (own / MANIFEST).write_text(json.dumps(document).replace('"HERE"', value))
    with pytest.raises(ArtefactError) as caught:
        read_artefact(own)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[" + "[]," * 5_000_000 + "[]]", "{}", "null", '{"a": 1, "a": 2}'], ids=lambda text: text[:8]
)
def test_invalid_manifests(own: Path, content: str) -> None:
    from edgec_mac.artefact import read_artefact
    from edgec_onboard.errors import ArtefactError

    (own / MANIFEST).write_text(content)
    with pytest.raises(ArtefactError):
        read_artefact(own)


@pytest.mark.parametrize("value", ["9" * 5000, "²", "x" * 100_000, "", "-5", "\x1b[2J"], ids=lambda value: ascii(value)[:12])
def test_invalid_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    from edgec_mac import machine

    names = ("machdep__cpu__brand_string", "hw__physicalcpu", "hw__logicalcpu", "hw__memsize")
    monkeypatch.setenv(machine.VARIABLE, str(write_facts(tmp_path, value or "''", **dict.fromkeys(names, value))))
    mac = machine.look()
    assert mac.memory_bytes == 0
    assert len(mac.brand) <= 100
    assert mac.brand.isprintable()
    if not value.startswith("9"):
        with pytest.raises(machine.WrongBoard):
            machine.check(mac, None, "15.0")


def test_a_command_with_endless_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgec_mac import machine

    monkeypatch.setenv(machine.VARIABLE, str(write_facts(tmp_path)))
    (tmp_path / "usr/bin/sw_vers").write_text("#!/bin/sh\nexec yes 15.4.1\n")
    assert machine.look().macos == ""


ANSWERS = [
    "print('{}')",
    "print('[]')",
    "print('not JSON')",
    'print(\'{"samples_ms": [1e309], "cpu_ms": 1}\')',
    'print(\'{"samples_ms": [NaN], "cpu_ms": 1}\')',
    "print('{\"samples_ms\": [1' + '0' * 400 + '], \"cpu_ms\": 1}')",
    'print(\'{"samples_ms": [-1], "cpu_ms": 1}\')',
    'print(\'{"samples_ms": [], "cpu_ms": 1}\')',
    "print('[' * 100000)",
    "while True:\n    os.write(1, b'1' * 100000)",
    "os.write(2, b'x' * 20_000_000); sys.exit(3)",
]


@pytest.mark.parametrize("body", ANSWERS)
def test_workers_with_invalid_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    from edgec_mac import process

    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, sys\nsys.stdin.readline()\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with process.Worker(tmp_path / "log", 20.0) as worker, pytest.raises(process.WorkerProblem) as caught:
        worker.request("run", iterations=1)
    assert len(str(caught.value)) < 4000


@pytest.mark.parametrize(
    "arguments",
    [("-o", "~nosuchuser/x"), ("-o", "x" * 300), ("--iterations", "9" * 6000), ("--iterations", "²")],
    ids=lambda value: value[1][:12],
)
def test_invalid_command_lines(mac: Mac, arguments: tuple[str, str]) -> None:
    done = mac.run(*arguments)
    assert done.code == 2, done
    assert "Traceback" not in done.stderr


def test_a_package_that_changes_while_it_is_measured(
    mac: Mac, own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was verified, and the report would be of something else."""
    mac.artefact = own
    standin: dict[str, Any] = {"weights": str(next(own.rglob("weight.bin")))}
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"import sys\nif '--worker' in sys.argv:\n    open({standin['weights']!r}, 'ab').write(b'x')\n"
    )
    environment = mac.environment

    def changed(faults: str = "") -> dict[str, str]:
        found = environment(faults)
        return {**found, "PYTHONPATH": f"{site}:{found['PYTHONPATH']}"}

    monkeypatch.setattr(mac, "environment", changed)
    done = mac.run("--iterations", "5", "--compute-units", "cpuOnly")
    assert done.code == 8, done
    assert not mac.place.exists()
