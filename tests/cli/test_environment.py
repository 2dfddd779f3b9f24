"""Environments as containers, cron and robots have them: a command works in them or says what is wrong, and is never a bug."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import SECONDS, command, edgec, environment
from tests.support.forks import Forks

Said = Callable[..., tuple[int, str, str]]
NOWHERE = ["/dev/null", "/dev/null/x", "/nowhere/at/all", "~nosuchuser/x", "n" * 300, "a/" * 2500, "caf\udce9", "relative", ""]
CASES = [
    *(("EDGEC_CACHE_DIR", value) for value in NOWHERE),
    *(("HOME", value) for value in NOWHERE),
    *(("TMPDIR", value) for value in NOWHERE),
    *(("XDG_CACHE_HOME", value) for value in ("/dev/null", "n" * 300)),
    *(("COLUMNS", value) for value in ("0", "-5", "junk", "1", "²", "9" * 5000, "99999999999", "")),
    *(("TERM", value) for value in ("", "\x01junk", "dumb")),
    *(("LC_ALL", value) for value in ("C", "POSIX", "xx_XX.junk")),
    *(("PATH", value) for value in ("", "/nowhere")),
    ("OMP_NUM_THREADS", "junk"),
]
FROM_THE_START = {"TERM", "LC_ALL", "PATH", "OMP_NUM_THREADS"}
"""What Python, or what it loads, looks at as it starts."""
STARTED = [case for case in CASES if case[0] in FROM_THE_START or case[1] == NOWHERE[0]]


def of_cases(cases: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "value"), cases, ids=[f"{name}={value[:16]!r}" for name, value in cases])


@of_cases(STARTED)
def test_doctor_starts_in_any_environment(name: str, value: str, tmp_path: Path) -> None:
    """It asks for everything: folders, runtimes, the machine."""
    done = subprocess.run(
        command("doctor"),
        cwd=tmp_path,
        env=environment(tmp_path / "cache") | {name: value},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    check_doctor(done, name, value)


@of_cases([case for case in CASES if case not in STARTED])
def test_doctor_looks_at_any_environment(name: str, value: str, builders: Forks, tmp_path: Path) -> None:
    done = builders.run("doctor", cwd=tmp_path, env=environment(tmp_path / "cache") | {name: value})
    check_doctor(done, name, value)


def check_doctor(done: subprocess.CompletedProcess[bytes], name: str, value: str) -> None:
    said = done.stderr.decode(errors="replace")
    assert done.returncode in ((0, 2) if name.endswith("DIR") else (0,)), said
    assert "Traceback" not in said
    assert b"ready for" in done.stdout or done.returncode == 2 or value == "1"


def of_the_workplace(workplace: Path) -> list[str | Path]:
    words = ["build", workplace / "checkpoint", "--calibration", workplace / "frames", "--target", workplace / "board.toml"]
    return [*words, "--input-size", "32x48"]


@pytest.mark.parametrize("value", ["nan", "-1", "1e400", "junk", "9" * 400, "0x10", "inf"])
def test_a_limit_that_is_no_size(value: str, workplace: Path, say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when a build begins, not when edgec is imported."""
    monkeypatch.setenv("EDGEC_CACHE_LIMIT_GB", value)
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    code, _, err = say(*of_the_workplace(workplace))
    assert code == 2, err
    assert "is not a size" in err


def test_a_limit_that_is_no_size_in_a_process_of_its_own(workplace: Path, tmp_path: Path) -> None:
    done = edgec(*of_the_workplace(workplace), cwd=tmp_path, cache=tmp_path / "cache", env={"EDGEC_CACHE_LIMIT_GB": "junk"})
    assert done.returncode == 2, done.stderr
    assert "is not a size" in done.stderr


def test_nothing_set_at_all(workplace: Path, tmp_path: Path) -> None:
    env = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    for words in (
        ["doctor"],
        ["verify", workplace / "made.edgec"],
        ["inspect", workplace / "checkpoint", "--input-size", "32x48"],
    ):
        done = subprocess.run(
            command(*words), cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr


COMMANDS = [["doctor"], ["inspect", "demo"], ["verify", "made"], ["targets"], ["sweep", "all.toml"], ["build", "demo"]]


@pytest.mark.parametrize("words", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_a_folder_that_has_gone(words: list[str], tmp_path: Path) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *command(*words)],
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("edgec: The current folder is gone")


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full"])
def test_streams_that_are_closed_or_full(stream: str, workplace: Path, tmp_path: Path) -> None:
    for words, code in ((["targets"], 0), (["verify", "nowhere"], 8), (["build"], 2), (["schema"], 0)):
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {stream}', "sh", *command(*words)],
            cwd=tmp_path,
            env=environment(tmp_path / "cache"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode in ((code, 1) if "full" in stream else (code,)), (words, done.stderr)
        assert "Traceback" not in done.stderr
