"""What commands print, and where."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import edgec as package
from edgec.artefact.reading import open_artefact
from edgec.cli import COMMANDS, edgec_cli
from tests.support.commands import SECONDS, command, edgec, environment
from tests.support.forks import Forks

Said = Callable[..., tuple[int, str, str]]


def all_commands() -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = [()]
    context = click.Context(edgec_cli)
    for name in edgec_cli.list_commands(context):
        commands.append((name,))
        made = edgec_cli.get_command(context, name)
        if isinstance(made, click.Group):
            commands += [(name, below) for below in made.list_commands(context)]
    return commands


# --- help


@pytest.mark.parametrize("names", all_commands(), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(say: Said, names: tuple[str, ...], option: str) -> None:
    code, out, err = say(*names, option)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: edgec {' '.join(names)}".rstrip())
    assert len(out.split("\n\n")[1].strip()) > 20
    assert "-h, --help" in out


@pytest.mark.parametrize("names", all_commands(), ids=" ".join)
def test_every_option_has_a_text(names: tuple[str, ...]) -> None:
    context, made = click.Context(edgec_cli), edgec_cli
    for name in names:
        below = made.get_command(context, name)
        assert below is not None
        made = below  # type: ignore[assignment]
    for parameter in made.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.rstrip().endswith((".", "]")), parameter.help


def test_help_lists_all_commands(say: Said) -> None:
    _, out, _ = say("--help")
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text.split('.')[0][:30])}", out, re.MULTILINE)
    assert set(COMMANDS) >= {"build", "inspect", "verify", "bench", "targets", "doctor"}


def test_the_version(say: Said) -> None:
    code, out, _ = say("--version")
    assert code == 0
    assert package.__version__ in out


def test_an_unknown_command_is_named(say: Said) -> None:
    code, out, err = say("biuld", "demo")
    assert (code, out) == (2, "")
    assert "biuld" in err


def test_options_of_each_command(say: Said) -> None:
    _, out, _ = say("build", "--help")
    for option in ("--target", "--calibration", "--input-size", "--batch", "--precision", "--min-fidelity", "-o, --output"):
        assert option in out
    assert "[auto|fp32|fp16|bf16|int8|fp8|w8|w6|w4]" in out


# --- results


def test_a_build_prints_its_result_and_nothing_else(say: Said, asked: list[str], tmp_path: Path) -> None:
    """The table of candidates, why, and where: on standard output. Settings and progress: on standard error."""
    code, out, err = say(*asked, "-o", tmp_path / "new.edgec")
    assert code == 0
    assert out.splitlines()[0].startswith("candidate")
    assert "(chosen)" in out
    assert f"wrote {tmp_path / 'new.edgec'}\n\nShips: onnxruntime-" in out
    # Wherever the line is broken: that depends on the figures and the folder's name.
    assert re.search(r"\d ms = [0-9.,]+ frames a second", " ".join(out.split()))
    assert out.rstrip().endswith(f"Next: edgec run {tmp_path / 'new.edgec'} VIDEO_OR_FOLDER")
    assert re.search(r"^ +\d+\.\d s  resolve$", err, re.MULTILINE)
    assert re.search(r"^input +uint8 NHWC \[1, 32, 48, 3\]", err, re.MULTILINE)
    assert err.index("candidates") < err.index("choose frames") if "choose frames" in err else "write" in err
    assert "wrote" not in err


def test_a_build_that_is_up_to_date_says_so(say: Said, asked: list[str], workplace: Path) -> None:
    code, out, _ = say(*asked, "-o", workplace / "made.edgec")
    assert code == 0
    assert "is up to date: nothing was done" in out


def test_a_build_s_json_is_json(say: Said, asked: list[str], tmp_path: Path) -> None:
    code, out, err = say(*asked, "-o", tmp_path / "new.edgec", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["artefact"] == str(tmp_path / "new.edgec")
    assert told["reused"] is False
    assert [stage["stage"] for stage in told["manifest"]["fidelity"]][-1] == "artefact"
    assert told["report"]["chosen"] in {entry["name"] for entry in told["report"]["candidates"]}
    assert all("samples_ms" not in entry["latency"] for entry in told["report"]["candidates"])
    assert "resolve" in err
    assert json.loads((tmp_path / "new.edgec" / "manifest.json").read_bytes()) == told["manifest"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("targets", "--json"),
        ("targets", "list", "--json"),
        ("targets", "show", "cpu", "--json"),
        ("targets", "--json", "show", "cpu-arm64"),
        ("doctor", "--json"),
        ("inspect", "demo", "--json"),
        ("inspect", "random:convnext_tiny", "--input-size", "480x640", "--json"),
    ],
    ids=" ".join,
)
def test_json_is_json_and_alone(say: Said, arguments: tuple[str, ...]) -> None:
    code, out, err = say(*arguments)
    assert code == 0
    assert json.loads(out)
    assert "{" not in err


def test_verify_and_bench_print_json(say: Said, artefact: Path) -> None:
    for arguments, key in ((("verify",), "outputs"), (("bench", "--iterations", "3"), "latency")):
        code, out, _ = say(*arguments[:1], artefact, *arguments[1:], "--json")
        assert code == 0
        told: dict[str, Any] = json.loads(out)
        assert told["build_key"] == open_artefact(artefact).manifest.build_key
        assert told[key]


def test_verify_prints_that_it_verified(say: Said, artefact: Path) -> None:
    code, out, err = say("verify", artefact)
    assert (code, err) == (0, "")
    assert "hashes ok" in out
    assert out.rstrip().endswith("verified")


# --- terminals, pipes and other places


@pytest.mark.parametrize(
    "arguments",
    [("targets",), ("targets", "show", "cpu"), ("doctor",), ("inspect", "demo"), ("build", "nowhere"), ("biuld",)],
    ids=" ".join,
)
def test_there_are_no_escape_codes_away_from_a_terminal(arguments: tuple[str, ...], builders: Forks, tmp_path: Path) -> None:
    done = builders.run(*arguments, cwd=tmp_path, env=environment(TERM="xterm-256color", COLORTERM="truecolor"))
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"\r" not in done.stdout + done.stderr
    assert done.stdout + done.stderr


def test_a_terminal_is_shown_progress(workplace: Path, asked: list[str], tmp_path: Path) -> None:
    """The live line must not break where there is one; a terminal of 60 columns."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command(*asked, "-o", tmp_path / "new.edgec"),
        env=environment(workplace / "cache", TERM="xterm-256color", COLUMNS="60", LINES="24"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=tmp_path,
        close_fds=True,
    )
    os.close(follower)
    said = b""
    while select.select([leader], [], [], SECONDS)[0]:
        try:
            block = os.read(leader, 1 << 16)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not block:
            break
        said += block
    os.close(leader)
    assert process.wait(SECONDS) == 0, said.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert "\x1b[" in said.decode()
    assert "wrote" in text
    assert "resolve" in text


@pytest.mark.parametrize(
    "arguments", [("targets",), ("targets", "--json"), ("doctor",), ("--help",), ("inspect", "demo")], ids=" ".join
)
def test_a_reader_that_went_away_is_no_error(arguments: tuple[str, ...], builders: Forks, tmp_path: Path) -> None:
    """As in `edgec targets | head -1`, but so that it always happens: nobody reads from the beginning."""
    reading, writing = os.pipe()
    os.close(reading)
    done = builders.run(*arguments, cwd=tmp_path, env=environment(), stdout=writing)
    os.close(writing)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_a_reader_that_went_away_is_no_error_to_python(tmp_path: Path) -> None:
    """Which writes what is left when it exits."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(command("targets"), cwd=tmp_path, env=environment(), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, b"")


def test_a_build_whose_progress_nobody_reads_goes_on(workplace: Path, asked: list[str], tmp_path: Path) -> None:
    """As in `edgec build … 2>&1 | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        command(*asked, "-o", tmp_path / "new.edgec"),
        cwd=tmp_path,
        env=environment(workplace / "cache"),
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    assert process.wait(SECONDS) == 0
    open_artefact(tmp_path / "new.edgec")


@pytest.mark.parametrize("closed", [1, 2])
def test_closed_streams_are_no_error(closed: int, tmp_path: Path) -> None:
    for arguments in (("targets",), ("targets", "--json"), ("--help",)):
        line = " ".join(command(*arguments)) + f" {closed}>&-"
        done = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("names", [("build", "--help"), ("targets",), ("targets", "show", "cpu"), ("doctor",)], ids=" ".join)
def test_a_terminal_without_unicode_is_enough(names: tuple[str, ...], tmp_path: Path) -> None:
    done = edgec(*names, cwd=tmp_path, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("columns", ["20", "60", "300"])
def test_narrow_and_wide_places_are_enough(say: Said, columns: str, artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for arguments in (("targets",), ("targets", "show", "cpu"), ("doctor",), ("verify", artefact)):
        code, out, _ = say(*arguments)
        assert code == 0
        assert out


@pytest.mark.parametrize("name", ["a\x1b[31mred\rb\nc ü\u202egnp", "[bold]x[/bold]"], ids=["codes", "markup"])
def test_names_cannot_steer_the_terminal(name: str, say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("build", name),
        ("build", "demo", "--target", name),
        ("build", "demo", "--calibration", name),
        ("build", "demo", "-o", f"{name}/x", "--input-size", "17", "--precision", "fp32"),
        ("verify", name),
        ("targets", "show", name),
    ):
        code, _, err = say(*arguments)
        assert code != 0
        check_names_are_harmless(name, err)
    # And as a process prints it.
    done = edgec("verify", name, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode != 0
    check_names_are_harmless(name, done.stderr)


def check_names_are_harmless(name: str, err: str) -> None:
    assert "Traceback" not in err
    for character in "\x1b\r\u202e":
        assert character not in err
    if name.startswith("["):
        assert "[bold]" in err
