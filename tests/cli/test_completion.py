"""What shells are given to complete edgec's commands with, man pages, and `--version`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.cli import COMMANDS, COMPLETE
from edgec.host.facts import versions
from tests.support.commands import environment
from tests.support.forks import Forks

Said = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]


def completions(builders: Forks, folder: Path, line: str) -> list[str]:
    """What may follow the line, as click tells fish: a kind, a name and a help text a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": line.split()[-1], COMPLETE: "fish_complete"}
    done = builders.edgec(cwd=folder, env=words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_bash_completes_commands_options_targets_and_files(tmp_path: Path) -> None:
    """In a real bash, with the script as it is printed."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    (tmp_path / "edgec").write_text(f'#!/bin/sh\nexec {sys.executable} -m edgec "$@"\n')
    (tmp_path / "edgec").chmod(0o755)
    script = """
eval "$(edgec completion bash)"
complete -p edgec
for line in "edgec ca" "edgec build --target cpu-raspberry-pi-5"; do
    COMP_WORDS=($line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _edgec_completion edgec
    echo "${COMPREPLY[@]}"
done
"""
    env = environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([bash, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    registered, commands, targets = done.stdout.splitlines()
    assert "_edgec_completion edgec" in registered
    assert commands.split() == ["calibration", "cache"]
    assert targets.split() == ["cpu-raspberry-pi-5"]


def test_what_may_follow(builders: Forks, tmp_path: Path) -> None:
    assert {line.partition("\t")[0] for line in completions(builders, tmp_path, "edgec co")} == {
        "plain,code",
        "plain,compare",
        "plain,completion",
    }
    assert any(line.startswith("plain,--fail-on-") for line in completions(builders, tmp_path, "edgec compare --fail"))
    assert completions(builders, tmp_path, "edgec build ./frames") == ["file,./frames"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(say: Said, shell: str) -> None:
    code, out, err = say("completion", shell)
    assert (code, err) == (0, "")
    assert f"{COMPLETE}={shell}_complete" in out


def test_the_version_names_the_runtimes_that_are_here(say: Said) -> None:
    code, out, _ = say("--version")
    assert code == 0
    first, *others = out.splitlines()
    installed = versions()
    assert first == f"edgec, version {installed.pop('edgec')}"
    assert {tuple(line.split()) for line in others} >= {(name, version) for name, version in installed.items()}


def test_a_man_page_for_each_command(tmp_path: Path) -> None:
    pytest.importorskip("click_man")
    written = [tmp_path / "first", tmp_path / "again"]
    for folder in written:
        subprocess.run([sys.executable, ROOT / ".ci" / "man", folder], cwd=ROOT, check=True)
    names = {path.name for path in written[0].iterdir()}
    assert names >= {"edgec.1", "edgec-cache-prune.1", *(f"edgec-{name}.1" for name in COMMANDS)}
    assert all(path.read_bytes() == (written[1] / path.name).read_bytes() for path in written[0].iterdir())
    assert "\\fBcache\\fP" in (written[0] / "edgec.1").read_text()
