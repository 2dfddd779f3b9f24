"""Names as strangers choose them: nothing of them steers the terminal that they are shown on, or is taken for markup."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgec.cli import console, run
from edgec.cli.console import Cleaned, cleaned, plain
from tests.support.frames import draw_pictures

HOSTILE = "a\x1b]0;title\x07\x1b[31m\u202egnp\u2066\u200b\u061c\x9b1m[red]x[b]\u2028\nedgec: done\r"
MARKS = ["\x1b", "\x07", "\r", "\x7f", "\x9b", "\u200b", "\u200e", "\u200f", "\u061c", "\u2028", "\u2029", "\ufeff", "\ud800"]
MARKS += [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xDC80)]


def steers(text: str) -> list[str]:
    return [unicodedata.name(each, repr(each)) for each in text if not each.isprintable() and each != "\n"]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Pictures, whole and broken ones, in a folder, with names that no terminal should see."""
    folder = tmp_path / f"set{HOSTILE}"
    draw_pictures(folder, count=8)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{HOSTILE}{'abcdefgh'[number]}{path.suffix}")
    (folder / f"{HOSTILE}.jpg").write_text("no picture")
    (folder / f"none.{HOSTILE}").write_text("no picture")
    return folder.rename(tmp_path / f"set\udcff{HOSTILE}")  # not UTF-8 either


COMMANDS = [
    ("calibration", "lint", "SET"), ("calibration", "lint", "SET", "--json"), ("calibration", "show", "SET"),
    ("calibration", "show", "SET", "-o", "SET.gif"), ("calibration", "lint", "SET.txt"), ("calibration", "lint", "SET.toml"),
    ("build", "SET"), ("build", "demo", "--calibration", "SET.none"), ("build", "demo", "--target", "SET"),
    ("build", "demo", "--input-size", "SET"), ("build", "demo", "--heads", "SET"), ("build", "--SET"), ("SET",),
    ("inspect", "SET"), ("verify", "SET"), ("run", "SET", "SET"), ("explain", "SET"), ("check", "SET"), ("report", "SET"),
    ("compare", "SET", "SET"), ("bench", "SET"), ("deploy", "SET", "SET"), ("sweep", "SET"), ("targets", "show", "SET"),
    ("code", "SET", "--cpp"),
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_command_lets_a_name_steer_the_terminal(hostile, encoding):
    """One program runs them all: importing is what takes time."""
    commands = [[part.replace("SET", str(hostile)) for part in command] for command in COMMANDS]
    program = f"""
import sys
from edgec.cli import run
for command in {commands!r}:
    sys.stdout.flush()
    code = run(command)
    print("exit code", code, flush=True)
"""
    settings = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=settings, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode(encoding) + done.stderr.decode(encoding)
    assert steers(text) == []
    assert "[red]x[b]" in text
    codes = [line for line in text.splitlines() if line.startswith("exit code ")]
    assert len(codes) == len(COMMANDS)
    assert "exit code 70" not in codes
    assert "Traceback" not in text


def test_json_says_exactly_which_name_it_was(hostile, capsys):
    assert run(["calibration", "lint", str(hostile), "--json"]) in (0, 4)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert steers(printed) == []
    assert any(HOSTILE in finding["text"] for finding in json.loads(printed)["findings"] if finding["check"] == "damaged")


@pytest.mark.parametrize("mark", MARKS)
def test_what_steers_is_replaced_and_lines_stay(mark):
    assert cleaned(f"a{mark}b\n\tc") == "a\N{REPLACEMENT CHARACTER}b\n\tc"
    assert steers(plain(f"a{mark}b\nc")) == []


def test_what_people_write_stays():
    for text in ("Straße 9", "写真", "صورة", "कखग", "café é", "🙂", "a−b × c…"):
        assert cleaned(text) == text
    assert cleaned("9.41\N{NARROW NO-BREAK SPACE}AM") == "9.41 AM"


def test_only_rich_adds_styles():
    target = io.StringIO()
    made = type(console.out)(file=target, force_terminal=True, color_system="truecolor", markup=False, highlight=False, width=200)
    table = Table()
    table.add_column("\x1b[1mtitle")
    table.add_row(Text("red\x1b]8;;http://a\x07", "bold red"))
    for each in (table, "plain [bold]\x1b[2J", Text("\u202ename", "link http://\x1b/")):
        made.print(each)
    printed = target.getvalue()
    assert "\x1b[1;31mred" in printed
    assert "[bold]" in printed
    assert "\x1b[2J" not in printed
    assert "\x1b]8" not in printed
    assert "\u202e" not in printed
    assert "\N{REPLACEMENT CHARACTER}[1mtitle" in printed


def test_a_live_line_keeps_its_styles_and_is_clean(monkeypatch):
    monkeypatch.setattr(sys, "stderr", target := io.StringIO())
    with console.cleaned_streams():
        made = type(console.err)(stderr=True, force_terminal=True, color_system="truecolor", width=80)
        with made.status("[red]looking\x1b[2J") as status:
            status.update("[red]at\u202ename")
            print("\x1b]0;title\x07other", file=sys.stderr)
            made.print(Text("note", "yellow"))
    printed = target.getvalue()
    assert "\x1b[33mnote" in printed
    assert "\x1b]0" not in printed
    assert "\x1b[2J" not in printed
    assert "\u202e" not in printed


def test_everything_that_is_written_is_cleaned(capsys, monkeypatch):
    import click

    def fail(*_: object, **__: object) -> None:
        print("printed \x1b[2J")
        click.echo("echoed \u202e")
        raise KeyError("raised \x1b[2J\u202e")

    monkeypatch.setattr("edgec.frames.load", fail)
    assert run(["calibration", "lint", "demo"]) == 70
    said = capsys.readouterr()
    assert steers(said.out + said.err) == []
    assert "printed " in said.out
    assert "echoed " in said.out
    assert "raised " in said.err
    assert not isinstance(sys.stdout, Cleaned)


def test_line_breaks_within_a_fact_are_indented(tmp_path, capsys):
    (tmp_path / "x\nedgec: all is well\n.jpg").write_text("no picture")
    assert run(["calibration", "lint", str(tmp_path)]) == 4
    said = capsys.readouterr()
    assert [line for line in (said.out + said.err).splitlines() if line.startswith("edgec: all is well")] == []


def test_every_console_of_the_command_line_is_a_cleaning_one():
    source = Path(console.__file__).parent
    for path in source.glob("*.py"):
        if path.name != "console.py":
            assert "Console(" not in path.read_text(encoding="utf-8").replace("on_console(", ""), path.name
    assert type(console.out) is not Console
    assert isinstance(console.wide(100), type(console.out))


def test_a_picture_with_such_a_name_is_drawn_on_the_sheet(hostile, tmp_path):
    assert run(["calibration", "show", str(hostile), "-o", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100
