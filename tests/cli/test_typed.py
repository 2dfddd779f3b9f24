"""Whatever is typed at any option or argument of any command, it is done or refused with a documented code: never a bug's.

The commands and their parameters are taken from the command line itself, so that a new one is tried without being named here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import pytest

from edgec.bundle.keys import Signer, generate
from edgec.bundle.packing import make_bundle
from edgec.cli import edgec_cli
from edgec.cli.options import PathType, ReferenceType
from edgec.errors import EdgecError

Said = Callable[..., tuple[int, str, str]]
CODES = {*range(23), 130}
SUFFIXES = ("", ".toml", ".json", ".pth", ".safetensors", ".onnx", ".txt", ".png", ".mp4", ".npz")
SECONDS = 60
"""For one command: what waits for a pipe, or reads a device without an end, would wait for ever."""


def commands(group: click.Group = edgec_cli, above: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


COMMANDS = dict(commands())
ODD = " a=b,c [/][red] {} %s $HOME \N{RIGHT-TO-LEFT OVERRIDE}x\x1b[31m\nedgec: done"
WORDS = [
    *("", ".", "-", "--", ODD, "caf\udce9", "\ud800", "x\0y", "n" * 300, "a/" * 2500),
    *(
        "~nosuchuser/x",
        "~\0x",
        "NAME=",
        "NAME=~nosuchuser/x",
        "NAME=x\0y",
        f"NAME={'n' * 300}",
        "random:",
        "camera:",
        "https://x/y",
    ),
]
READ = ["/", "~", "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/dev/tty", "/proc/self/mem", "/proc/1/root/x"]
"""For what is only read. Nothing that is written is ever given a place outside of the test's own folder: root may run this."""
NUMBERS = [
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e309",
    "-0.0",
    "1e-400",
    str(10**400),
    "9" * 5000,
    str(2**32),
    str(2**64),
    "0x10",
    "",
]
TEXTS = [
    f"{10**400}x16",
    f"16x{2**40}",
    "9999999999h",
    "9" * 400 + "s",
    "1,2,9999999999999999999",
    "100%",
    "1e309%",
    f"{2**70}.1",
]
"""Of what has a form of its own: sizes, lengths of time, lists of blocks, shares, versions."""


@pytest.fixture(scope="session")
def released(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `key`, `key.pub`, and the artefact as `robot-1.edgec-bundle`. Not to be changed."""
    folder = tmp_path_factory.mktemp("released")
    generate(folder / "key")
    make_bundle(workplace / "made.edgec", folder / "robot-1.edgec-bundle", Signer(folder / "key"))
    return folder


@pytest.fixture
def lines(
    workplace: Path, artefact: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[str]]:
    """Of every command a line that is right and quick, by the command's name. What stands for a required argument comes last."""
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(workplace / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # Nothing that is typed is looked up or reached: this stands before the machine's own.
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'ssh: no route to host' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    frames, made = str(workplace / "frames"), str(artefact)
    (tmp_path / "all.toml").write_text('checkpoints = ["nowhere.pth"]\ntargets = ["cpu"]\nsizes = [32]\n')
    (tmp_path / "fleet.toml").write_text('name = "all"\nboards = ["nobody@127.0.0.1:1"]\n')
    bundle, fleet = str(released / "robot-1.edgec-bundle"), str(tmp_path / "fleet.toml")
    signing = ["--sign", str(released / "key"), "-o", str(tmp_path / "new" / "robot-1.edgec-bundle")]
    trust = ["--trust", str(released / "key.pub")]
    build = ["--calibration", frames, "--target", str(workplace / "board.toml"), "--input-size", "32x48", "--iterations", "5"]
    return {
        "build": [*build, "-o", str(tmp_path / "new.edgec"), str(workplace / "checkpoint")],
        "inspect": ["--input-size", "32x48", str(workplace / "checkpoint")],
        "verify": [made],
        "run": ["--limit", "1", made, frames],
        "deploy": ["--ssh-option", "ConnectTimeout=1", made, "nobody@127.0.0.1:1"],
        "bench": ["--iterations", "5", made],
        "compare": ["--anyway", made, made],
        "explain": [made],
        "check": [made],
        "calibration lint": ["--input-size", "32x48", frames],
        "calibration show": [frames],
        "calibration extend": ["-o", str(tmp_path / "more.toml"), "demo", frames],
        "targets list": ["jetson"],
        "targets show": ["cpu"],
        "report": ["-o", str(tmp_path / "page.html"), made],
        "sweep": ["-o", str(tmp_path / "swept"), str(tmp_path / "all.toml")],
        "schema": ["report"],
        "glossary": ["fidelity"],
        "doctor": [],
        "init": ["--force", str(tmp_path)],
        "history": [made],
        "cache list": [],
        "cache prune": ["--dry-run"],
        "completion": ["bash"],
        "keygen": [str(tmp_path / "key")],
        "bundle make": [*signing, made],
        "bundle report": [*signing, *trust, bundle, str(artefact / "report.json")],
        "bundle unpack": [*trust, "-o", str(tmp_path / "unpacked"), bundle],
        "bundle diff": [made, made],
        "code": ["--cpp", "-o", str(tmp_path / "project"), made],
        "fleet status": [fleet],
        "fleet fetch-frames": ["-o", str(tmp_path / "fetched"), fleet],
        "fleet rollback": [fleet],
        "fleet rollouts": [],
        "fleet close": ["0123456789abcdef"],
    }


def test_every_command_has_its_line(lines: dict[str, list[str]]) -> None:
    assert set(lines) == set(COMMANDS)


def special_files(folder: Path, suffixes: Iterable[str]) -> list[str]:
    """Pipes without a writer, folders, files of no bytes and of zeros, what may not be read (by others than root), links to
    nowhere and to themselves; and by the suffixes that edgec goes by."""
    folder.mkdir()
    (folder / "zeros").write_bytes(bytes(4096))
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    # Whoever writes in its place replaces the link, and not what it leads to.
    (folder / "device").symlink_to("/dev/full")
    os.mknod(folder / "socket", stat.S_IFSOCK | 0o600)
    (folder / "closed").touch(mode=0)
    for suffix in suffixes:
        (folder / f"empty{suffix}").touch()
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"folder{suffix}").mkdir()
    return sorted(str(path) for path in folder.iterdir())


def with_word(command: click.Command, line: list[str], parameter: click.Parameter, word: str) -> list[str]:
    if isinstance(parameter, click.Option):
        # Of an option that is given twice click looks at the last alone.
        places = [place for place, each in enumerate(line) if each in parameter.opts]
        rest = [each for place, each in enumerate(line) if place not in places and place - 1 not in places]
        return [max(parameter.opts, key=len), word, *rest]
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    place = arguments.index(parameter) - len(arguments) + len(line)  # type: ignore[arg-type]
    return [*line[:place], word, *line[place + 1 :]]


class TooLate(BaseException):
    """No `Exception`, which somebody would make an error of his own of."""


@contextlib.contextmanager
def deadline() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TooLate(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def words_for(parameter: click.Parameter, folder: Path) -> list[str]:
    if isinstance(parameter.type, (click.types.IntParamType, click.types.FloatParamType)):
        return NUMBERS
    if not isinstance(parameter.type, (PathType, ReferenceType)):
        return [*WORDS, *NUMBERS, *TEXTS]
    if isinstance(parameter.type, PathType) and parameter.type.written:
        return [*WORDS, *special_files(folder, [""])]
    return [*WORDS, *READ, *special_files(folder, SUFFIXES)]


PARAMETERS = [
    pytest.param(name, parameter, id=f"{name} {parameter.name}")
    for name, command in COMMANDS.items()
    for parameter in command.params
    if not (isinstance(parameter, click.Option) and parameter.is_flag)
]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_no_argument_is_a_bug(
    name: str, parameter: click.Parameter, lines: dict[str, list[str]], say: Said, tmp_path: Path
) -> None:
    bugs = []
    for word in words_for(parameter, tmp_path / "special"):
        with deadline():
            code, _, err = say(*name.split(), *with_word(COMMANDS[name], lines[name], parameter, word))
        if code not in CODES or "Traceback" in err:
            bugs.append(f"{word[:60]!r}: {code}, {err.strip().splitlines()[-2:]}")
    assert not bugs, "\n".join(bugs)


def test_paths_have_the_type_of_paths() -> None:
    """So that what is done for one is done for all: click's own type lets pass what no file can be called."""
    plain = [each.id for each in PARAMETERS if type(each.values[1].type) is click.Path]
    assert plain == []


def test_paths_that_are_written_have_the_type_of_written_paths() -> None:
    """Devices are refused by that, before anything is written in their place."""
    made = {each.id for each in PARAMETERS if isinstance(each.values[1].type, PathType) and each.values[1].type.written}
    assert made == {
        *("build output", "run features", "run output", "bench output", "compare output", "explain pictures"),
        *("calibration show output", "report output", "sweep output", "keygen key", "code output"),
        *("compare junit", "verify junit", "init folder", "run drift_frames", "fleet fetch-frames output"),
        "calibration extend output",
        *("bundle make output", "bundle report output", "bundle unpack output"),
    }


@pytest.mark.parametrize("place", ["pipe", "device"])
def test_devices_and_pipes_are_not_replaced(place: str, artefact: Path, say: Said, tmp_path: Path) -> None:
    """Renaming a file to /dev/null, which root can, takes that away from the whole machine."""
    special = tmp_path / "special"
    special_files(special, [""])
    before = (special / place).lstat()
    output = str(special / place)
    with deadline():
        code, _, err = say("bench", str(artefact), "--iterations", "1", "--output", output)
    assert (code, "is a device, a pipe or a socket" in err) == (2, True)
    from edgec.report.html.page import write_page

    with deadline(), pytest.raises(EdgecError):
        write_page("<html>", special / place)
    assert os.path.samestat((special / place).lstat(), before)
