"""A Jetson made of files: a bundle, a tree of facts, the stand-in in trtexec's place, and the program as a real process."""

from __future__ import annotations

import compileall
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.artefact.golden import EXPECTED_FLOAT32, FRAMES, write_golden
from edgec.backends.jetson.program import PROGRAM, jetson_program
from edgec.graph.files import serialised
from edgec.graph.operations import operations
from edgec.graph.planned import apply_plan
from edgec.model.spec import Size
from edgec.records.consistency import read_report
from edgec.records.report import Report
from tests.support.frames import pictures
from tests.support.models import VIT, exported
from tests.support.plans import observed_ranges, plain_int8

STANDIN = Path(__file__).resolve().parent / "trtexec"
SIZE = Size(64, 96)
COUNT = 2
ORIN = ("nvidia,p3768-0000+p3767-0003", "nvidia,p3767-0003", "nvidia,tegra234")
ORIN_NANO = {
    "profile": "jetson-orin-nano",
    "title": "Jetson Orin Nano",
    "compatible": ["nvidia,p3767-0003", "nvidia,p3767-0004"],
    "compute_capability": "8.7",
    "jetpack": ["6.0", "6.1", "6.2", "7.2"],
    "tensorrt": {"min": "8.6", "below": "12"},
}
SECONDS = 60
PYTHONS = ("3.8", "3.11")


def interpreter(version: str) -> str | None:
    """A Python of this version: this one, one that pyenv keeps, or one on the PATH."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


@cache
def _content() -> tuple[dict[str, bytes], NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
    """The three graphs, golden frames, and the PyTorch model's features of them."""
    model = exported(VIT, SIZE)
    hub = model.graph
    frames = pictures(SIZE, COUNT)
    features = [model.features(frames[index : index + 1]) for index in range(COUNT)]
    expected = {name: np.concatenate([each[name] for each in features]) for name in ("cls", "patches")}
    tensors = [entry.activation for entry in operations(hub) if entry.kind == "linear"]
    ranges = observed_ranges(hub, list(dict.fromkeys(tensors)), list(frames), 1)
    plan = plain_int8(hub, ranges, kinds=("linear",), rest="fp32", activations="s8")
    graphs = {"int8": apply_plan(hub, plan), "fp16": hub, "fp32": hub}
    return {stem: _named(graph, stem) for stem, graph in graphs.items()}, frames, expected


def _named(graph: ir.Model, stem: str) -> bytes:
    """A file of its own, whatever it shares with others."""
    copy = graph.clone()
    copy.graph.name = stem
    return serialised(copy)


def write_bundle(folder: Path, **changes: Any) -> Path:
    """An artefact's `model`, `golden` and `device`, as edgec writes them. `changes` replace what bundle.json says."""
    graphs, frames, expected = _content()
    (folder / "model").mkdir(parents=True)
    for stem, content in graphs.items():
        (folder / "model" / f"{stem}.onnx").write_bytes(content)
    write_golden(folder, frames, expected, expected)
    jetson_program().write(folder)
    paths = [*(f"model/{stem}.onnx" for stem in graphs), FRAMES, EXPECTED_FLOAT32, PROGRAM]
    document = {
        "schema_version": 1,
        "edgec_version": "0.1.0",
        "name": "small-jetson-64x96",
        "build_key": "ab" * 32,
        "family": "jetson",
        "boards": [ORIN_NANO],
        "input": {"name": "frames", "dtype": "uint8", "shape": [1, SIZE.height, SIZE.width, 3]},
        "outputs": [{"name": name, "dtype": "float32", "shape": [1, *array.shape[1:]]} for name, array in expected.items()],
        "variants": [
            {"name": stem, "path": f"model/{stem}.onnx", "precision": stem, "tensorrt": {"min": "8.6", "below": "12"}}
            for stem in graphs
        ],
        "golden": {"frames": FRAMES, "expected": EXPECTED_FLOAT32, "count": COUNT},
        "gate": {"cls_cosine_mean": 0.9, "patch_cosine_mean": 0.9, "patch_cosine_p01": 0.8},
        "model": {
            "name": "small",
            "arch": "64/2/1",
            "checkpoint_sha256": "0" * 64,
            "random_weights": True,
            "gflops": 0.01,
            "parameters": 100000,
        },
        "target": "jetson",
        "precision_asked": "auto",
        "calibration": "made for a test",
        "files": [
            {"path": path, "sha256": _sha256(folder / path), "size_bytes": (folder / path).stat().st_size} for path in paths
        ],
    }
    (folder / "device" / "bundle.json").write_text(json.dumps(document | changes))
    return folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack_program(bundle: Path, folder: Path) -> Path:
    """The program as a folder that Python runs as it runs the archive, but need not compile each time."""
    with zipfile.ZipFile(bundle / PROGRAM) as archive:
        archive.extractall(folder)
    compileall.compile_dir(folder, quiet=2)
    return folder


def write_facts(folder: Path, compatible: Sequence[str] = ORIN) -> Path:
    """/proc, /sys, /etc and /usr of an Orin Nano with JetPack 6.2, as far as the program looks at them."""

    def write(path: str, text: str) -> Path:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    write("proc/device-tree/compatible", "\0".join(compatible) + "\0")
    write("proc/device-tree/model", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0")
    write("proc/meminfo", "MemTotal:        7802468 kB\nMemAvailable:    5802468 kB\n")
    write("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    write("etc/os-release", 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n')
    write(
        "var/lib/dpkg/status",
        "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n\n"
        "Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n\n"
        "Package: tensorrt\nStatus: deinstall ok config-files\nVersion: 8.6.2\n",
    )
    write("sys/class/hwmon/hwmon1/name", "ina3221\n")
    for channel, (label, millivolts, milliamperes) in enumerate(
        (("VDD_IN", 5000, 1200), ("NC", 1, 1), ("VDD_SOC", 4992, 250)), 1
    ):
        write(f"sys/class/hwmon/hwmon1/in{channel}_label", f"{label}\n")
        write(f"sys/class/hwmon/hwmon1/in{channel}_input", f"{millivolts}\n")
        write(f"sys/class/hwmon/hwmon1/curr{channel}_input", f"{milliamperes}\n")
    write("sys/class/hwmon/hwmon2/oc1_event_cnt", "4\n")
    write("sys/class/thermal/thermal_zone0/type", "gpu-thermal\n")
    write("sys/class/thermal/thermal_zone0/temp", "51250\n")
    write("sys/class/thermal/cooling_device0/type", "pwm-fan\n")
    write("sys/class/thermal/cooling_device0/cur_state", "3\n")
    write("sys/class/thermal/cooling_device1/type", "devfreq-17000000.gpu\n")
    write("sys/class/thermal/cooling_device1/cur_state", "0\n")
    for name, hertz in (("cur", 612000000), ("min", 306000000), ("max", 1020000000)):
        write(f"sys/class/devfreq/17000000.gpu/{name}_freq", f"{hertz}\n")
    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n")
    write("usr/sbin/nvpmodel", "#!/bin/sh\necho 'NV Power Mode: 15W'\necho 0\n").chmod(0o755)
    write("usr/bin/jetson_clocks", "#!/bin/sh\necho 'please run as root'; exit 1\n").chmod(0o755)
    # `exec`: the process that is started is the one that runs. Without packages, which it looks for when it needs them.
    packages = sysconfig.get_path("purelib")
    started = f'STANDIN_PACKAGES="{packages}" exec "{sys.executable}" -I -S "{STANDIN}" "$@"'
    write("usr/src/tensorrt/bin/trtexec", f"#!/bin/sh\n{started}\n").chmod(0o755)
    return folder


@dataclass(frozen=True)
class Result:
    """One run of the program with --json."""

    code: int
    events: list[dict[str, Any]]
    stderr: str

    def of(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        return [
            each
            for each in self.events
            if each["event"] == event and all(each.get(name) == value for name, value in wanted.items())
        ]

    @property
    def error(self) -> dict[str, Any]:
        (error,) = self.of("error")
        return error


@dataclass
class Robot:
    """A board with a bundle on it. `env` is added to the program's environment; `program` is the bundle's own unless it says
    otherwise."""

    bundle: Path
    facts: Path
    root: Path
    python: str = sys.executable
    program: Path | None = None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        document = json.loads((self.bundle / "device" / "bundle.json").read_text())
        return self.root / str(document["name"])

    def release(self, build_key: str = "ab" * 32) -> Path:
        """The folder of the installed release of this build."""
        (folder,) = (self.home / "releases").glob(f"{build_key[:16]}-*")
        return folder

    @property
    def measurements(self) -> Path:
        return self.home / "measurements.json"

    def report(self) -> Report:
        """As edgec makes it of what was measured."""
        return read_report(self.measurements)

    @property
    def current(self) -> str | None:
        """The name of the active engine's folder."""
        link = self.home / "current"
        return link.readlink().name if link.is_symlink() else None

    def command(self, command: str, *arguments: str | Path) -> list[str]:
        quick = ["--seconds", "0.05", "--iterations", "20"] if command in ("bench", "run-all") else []
        given = ["--root", str(self.root), *quick, *map(str, arguments)]
        if self.program is None:
            return [self.python, "-W", "error", str(self.bundle / PROGRAM), command, *given]
        return [self.python, "-I", "-S", "-W", "error", str(self.program), command, "--bundle", str(self.bundle), *given]

    def environment(self, faults: str = "", **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STANDIN_", "PYTHON"))}
        return kept | {"EDGEC_FACTS_ROOT": str(self.facts), "STANDIN_FAULTS": faults} | self.env | more

    def start(self, command: str, *arguments: str | Path, faults: str = "", **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(command, *arguments),
            env=self.environment(faults, **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str | Path, faults: str = "", **env: str) -> Result:
        """Every run ends with an `end` that says its exit code, and without a traceback."""
        done = finish(self.start(command, *arguments, "--json", faults=faults, **env))
        assert "Traceback" not in done.stderr, done.stderr
        assert done.events[-1]["event"] == "end", done
        assert done.events[-1]["exit_code"] == done.code
        return done

    def run_installed(self, command: str) -> Result:
        """As `run`, for a command about what is installed, from a program that lies in no artefact."""
        arguments = self.command(command, "--json")
        bundle = arguments.index("--bundle")
        del arguments[bundle : bundle + 2]
        process = subprocess.Popen(arguments, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        done = finish(process)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def say(self, command: str, *arguments: str | Path, faults: str = "", **env: str) -> tuple[int, str, str]:
        """As people see it: exit code, standard output, standard error."""
        process = self.start(command, *arguments, faults=faults, **env)
        out, error = process.communicate(timeout=SECONDS)
        return process.returncode, out, error

    def record(self, engine: str, name: str) -> Mapping[str, Any]:
        document: Mapping[str, Any] = json.loads((self.home / "engines" / engine / f"{name}.json").read_text())
        return document


def finish(process: subprocess.Popen[str]) -> Result:
    out, error = process.communicate(timeout=SECONDS)
    return Result(process.returncode, [json.loads(line) for line in out.splitlines()], error)


def check_whole(robot: Robot) -> None:
    """What must hold at every instant: every engine that has a name is whole, and what is active was verified."""
    for folder in (robot.home / "engines").glob("[!.]*"):
        facts = json.loads((folder / "engine.json").read_text())
        assert _sha256(folder / "engine.plan") == facts["sha256"], folder
    for release in (robot.home / "releases").glob("[!.]*"):
        document = json.loads((release / "device" / "bundle.json").read_text())
        for file in document["files"]:
            assert _sha256(release / file["path"]) == file["sha256"], file
    if robot.current is not None:
        verified = robot.record(robot.current, "verify")
        assert verified["passed"] is True
        assert verified["engine_sha256"] == robot.record(robot.current, "engine")["sha256"]
