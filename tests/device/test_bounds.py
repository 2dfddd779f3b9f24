"""What trtexec exports, the board's own files and the command line may hold anything: one clear refusal, and no memory spent."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device.conftest import told
from tests.device.robot import SECONDS, Robot, interpreter, write_facts

WRAPPED = """#!{python}
import os, subprocess, sys
arguments = sys.argv[1:]
done = subprocess.run([{trtexec!r}, *arguments])
for argument in arguments:
    if argument.startswith({flag!r} + "="):
        content = eval({content!r})
        open(argument.split("=", 1)[1], "w").write(content)
sys.exit(done.returncode)
"""
TALKER = """#!{python}
import subprocess, sys
done = subprocess.run([{trtexec!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
lines = done.stdout.splitlines(True)
out = sys.stdout.buffer
out.write(b"".join(lines[:-1]))
if any(each.startswith("--saveEngine") for each in sys.argv):
    for number in range(60):
        out.write(b"[E] " + b"x" * (1 << 20) + b"\\n")
    for number in range(400_000):
        out.write(b"[I] noise %d\\n" % number)
    for number in range(20_000):
        out.write(b"[W] warning %d\\n" % number)
out.write(lines[-1])
out.flush()
sys.exit(done.returncode)
"""
MEMORY = 400 << 20


def wrap(robot: Robot, tmp_path: Path, text: str, **more: str) -> None:
    """trtexec, with something in its way."""
    facts = Path(shutil.copytree(robot.facts, tmp_path / "facts"))
    real = robot.facts / "usr/src/tensorrt/bin/trtexec"
    place = facts / "usr/src/tensorrt/bin/trtexec"
    place.write_text(text.format(python=sys.executable, trtexec=str(real), **more))
    place.chmod(0o755)
    robot.facts = facts


@pytest.fixture(scope="module")
def built_root(bundle: Path, facts: Path, memo: Path, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an engine that is not verified yet. Not to be changed."""
    robot = Robot(bundle, facts, tmp_path_factory.mktemp("built") / "root", program=program, env=told(memo))
    assert robot.run("install").code == 0
    assert robot.run("build", "--variant", "int8").code == 0
    return robot.root


@pytest.fixture
def built(robot: Robot, built_root: Path) -> Robot:
    shutil.copytree(built_root, robot.root, symlinks=True)
    return robot


@pytest.fixture
def verified(robot: Robot, lived_in_now: Path) -> Robot:
    shutil.copytree(lived_in_now, robot.root, symlinks=True)
    return robot


TIMES = {
    "400 digits": '\'[{"latencyMs": 1\' + "0" * 400 + "}]"',
    "5000 digits": '\'[{"latencyMs": 1\' + "0" * 5000 + "}]"',
    "2**63": "'[{\"latencyMs\": 9223372036854775808}]'",
    "1e309": "'[{\"latencyMs\": 1e309}]'",
    "NaN": "'[{\"latencyMs\": NaN}]'",
    "backwards": "'[{\"latencyMs\": -1}]'",
    "a million years": "'[{\"latencyMs\": 1e18}]'",
    "deep": '"[" * 100_000',
    "empty lists": '"[" + "[]," * 20_000_000 + "[]]"',
    "no list": '"7"',
    "other rows": '"[[], 3, null]"',
    "huge": '"[" + " " * (300 << 20) + "]"',
}


@pytest.mark.parametrize("content", TIMES.values(), ids=TIMES.keys())
def test_invalid_times(verified: Robot, tmp_path: Path, content: str) -> None:
    wrap(verified, tmp_path, WRAPPED, flag="--exportTimes", content=content)
    done = verified.run("bench", "--variant", "int8")
    assert done.code == 10, done
    assert "trtexec's times" in done.error["what"]
    assert len(json.dumps(done.error)) < 2000


OUTPUTS = {
    "400 digits": '\'[{"name": "cls", "dimensions": "1x64", "values": [1\' + "0" * 400 + "]}]"',
    "long shape": '\'[{"name": "cls", "dimensions": "\' + "1x" * 20_000 + \'1", "values": [1]}]\'',
    "digits in a shape": '\'[{"name": "cls", "dimensions": "\' + "1" * 5000 + \'", "values": [1]}]\'',
    "deep": '"[" * 100_000',
    "empty lists": '"[" + "[]," * 1_000_000 + "[]]"',
    "names": '"[" + ",".join(\'{"name": "n%d", "dimensions": "1", "values": []}\' % n for n in range(2000)) + "]"',
    "texts": '\'[{"name": "cls", "dimensions": "1x64", "values": "1 2 3"}]\'',
    "huge": '"[" + " " * (100 << 20) + "]"',
}


@pytest.mark.parametrize("content", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_invalid_outputs(built: Robot, tmp_path: Path, content: str) -> None:
    wrap(built, tmp_path, WRAPPED, flag="--exportOutput", content=content)
    done = built.run("verify", "--variant", "int8")
    assert done.code in (9, 10), done
    assert len(json.dumps(done.error)) < 4000


def test_a_trtexec_with_endless_output(robot: Robot, tmp_path: Path) -> None:
    robot.run("install")
    wrap(robot, tmp_path, TALKER)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [*robot.command("build", "--variant", "int8", "--json")]
    done = subprocess.run(
        command, env=robot.environment(), capture_output=True, timeout=SECONDS, check=False, preexec_fn=limit, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) < 4 << 20
    log = next((robot.home / "logs").glob("build-int8.log"))
    assert log.stat().st_size < 64 << 20
    assert "lines were dropped here" in log.read_text()


GARBAGE = {
    "sys/class/thermal/thermal_zone0/temp": ["nan\n", "inf\n", "1e400\n", "9" * 5000, "x" * 100_000, "", "\xff\0\n"],
    "sys/class/hwmon/hwmon1/in1_input": ["nan\n", "1e308\n", "-inf\n"],
    "sys/class/hwmon/hwmon1/in1_label": ["x" * 100_000, "\x1b[2J\n"],
    "sys/class/devfreq/17000000.gpu/min_freq": ["inf\n", "1e400\n", "[]\n"],
    "sys/class/hwmon/hwmon2/oc1_event_cnt": ["nan\n", "garbage\n"],
    "proc/meminfo": ["MemTotal:\nMemAvailable:\n", "MemTotal: x kB\nMemAvailable: 9" + "9" * 5000 + " kB\n", ""],
    "etc/nv_tegra_release": ["# R" + "9" * 6000 + " (release), REVISION: 1.2.3.4\n", "\0" * 100],
    "etc/os-release": ["PRETTY_NAME=\n=\n", "x" * 100_000],
    "var/lib/dpkg/status": ["Package: nvidia-jetpack\nStatus: install ok installed\nVersion: " + "9" * 100_000 + "\n"],
}


@pytest.mark.parametrize("number", range(max(map(len, GARBAGE.values()))))
def test_sensors_that_return_garbage(robot: Robot, tmp_path: Path, number: int) -> None:
    """All of them at once: what they say is left out, and the engine is measured all the same."""
    robot.facts = write_facts(tmp_path / "facts")
    for path, contents in GARBAGE.items():
        (robot.facts / path).write_bytes(contents[number % len(contents)].encode("utf-8", "surrogateescape"))
    if number == 0:
        zone = robot.facts / "sys/class/thermal/thermal_zone0/temp"
        zone.unlink()
        os.mkfifo(zone)
    if number == 1:
        (robot.facts / "usr/sbin/nvpmodel").write_text("#!/bin/sh\nexec yes 'NV Power Mode: 15W'\n")
    if number == 2:
        (robot.facts / "usr/sbin/nvpmodel").write_text("#!/bin/sh\nhead -c 50000000 /dev/zero | tr '\\0' '\\n'\n")
    done = robot.run("run-all", "--variant", "fp16")
    assert done.code == 0, done
    report = json.loads(robot.measurements.read_text())
    assert len(json.dumps(report)) < 200_000


@pytest.mark.parametrize(
    ("command", "options", "code"),
    [
        ("status", ("--root", "~nosuchuser/x"), 2),
        ("status", ("--root", "x" * 300), 2),
        ("status", ("--bundle", "~nosuchuser/x"), 2),
        ("status", ("--bundle", "/" + "x" * 300), 2),
        ("preflight", ("--trtexec", "/" + "x" * 300), None),
        ("bench", ("--iterations", "1" + "0" * 400), 2),
        ("bench", ("--iterations", "9" * 6000), 2),
        ("bench", ("--iterations", "-5"), 2),
        ("bench", ("--seconds", "1e300"), 2),
        ("bench", ("--patience", "inf"), 2),
        ("build", ("--variant", "x" * 300), 2),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_command_lines(robot: Robot, command: str, options: tuple[str, ...], code: int | None) -> None:
    returned, out, error = robot.say(command, *options)
    assert returned == code or (code is None and returned in (1, 12)), (out, error)
    assert "Traceback" not in error
    assert len(error) < 8000


JUMPS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    static int calls;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (clock == CLOCK_REALTIME) at->tv_sec += (calls++ % 2 ? 1 : -1) * 315360000L;
    return result;
}
"""


@pytest.fixture
def jumping(tmp_path: Path) -> str:
    """A library in whose clock ten years pass, forwards or backwards, between two looks at it."""
    source, library = tmp_path / "jumps.c", tmp_path / "jumps.so"
    source.write_text(JUMPS)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler")
    return str(library)


def test_a_clock_that_jumps(robot: Robot, jumping: str) -> None:
    """No duration, and no order of engines, is by the time of day."""
    said = subprocess.run(
        [interpreter("3.8") or sys.executable, "-c", "import time; print(time.time() - time.time())"],
        env={"LD_PRELOAD": jumping}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert abs(float(said.stdout)) > 1e8, "the library does nothing"
    done = robot.run("run-all", LD_PRELOAD=jumping)
    assert done.code == 0, done
    first = robot.current
    assert all(0 <= event.get("seconds", 0) < 600 for event in done.events)
    for engine in (robot.home / "engines").iterdir():
        assert 0 <= robot.record(engine.name, "engine")["build_seconds"] < 600
        assert 0 <= robot.record(engine.name, "verify")["seconds"] < 600
    assert robot.run("activate", "--variant", "fp16", LD_PRELOAD=jumping).code == 0
    assert robot.run("rollback", LD_PRELOAD=jumping).code == 0
    assert robot.current == first
    assert robot.run("status", LD_PRELOAD=jumping).of("status")[0]["state"] == "verified"
