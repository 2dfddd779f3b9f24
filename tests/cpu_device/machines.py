"""Machines with a CPU: facts about them as files, what must always hold of what is installed there, and wheels for them."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import platform
import zipfile
from pathlib import Path

from tests.device.robot import Robot

ARM = platform.machine() in ("aarch64", "arm64")
FLAG = "asimd" if ARM else "sse4_2"
"""What the artefact's profile asks for, and every machine that runs these tests has."""
PROFILE = f"""
name = "courier"
family = "cpu"
title = "a courier robot's PC"
architecture = "{"aarch64" if ARM else "x86_64"}"
isa = ["{FLAG}"]

[precisions]
fp32 = ["openvino", "onnxruntime"]
bf16 = ["openvino"]
"""


def write_facts(folder: Path, flags: str = f"fpu {FLAG} rest") -> Path:
    """/proc and /sys of a PC, or of a Raspberry Pi where tests run on arm64: cool, at full speed, with nothing else to do."""
    cores = (
        "Features\t: {}\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n" if ARM else "model name\t: Some CPU 9000\nflags\t\t: {}\n"
    )
    write(folder, "proc/cpuinfo", f"processor\t: 0\n{cores.format(flags)}\n")
    write(folder, "proc/meminfo", "MemTotal:        8000000 kB\nMemAvailable:    6000000 kB\n")
    write(folder, "proc/stat", "cpu  100 0 100 100000 0 0 0 0 0 0\ncpu0 100 0 100 100000 0 0 0 0 0 0\n")
    write(folder, "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 total=5\n")
    cpufreq = {"scaling_governor": "performance", "scaling_cur_freq": 2400000, "scaling_max_freq": 2400000}
    for name, value in {**cpufreq, "cpuinfo_max_freq": 2400000}.items():
        write(folder, f"sys/devices/system/cpu/cpu0/cpufreq/{name}", f"{value}\n")
    write(folder, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(folder, "sys/class/thermal/thermal_zone0/temp", "48312\n")
    return folder


def write(folder: Path, path: str, text: str) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def check_whole(robot: Robot) -> None:
    """What must hold at every instant: every model that has a name is whole, and what is active was verified."""
    for folder in (robot.home / "engines").glob("[!.]*"):
        facts = json.loads((folder / "engine.json").read_text())
        assert content(folder, facts["files"]) == facts["sha256"], folder
    for release in (robot.home / "releases").glob("[!.]*"):
        document = json.loads((release / "device" / "bundle.json").read_text())
        for file in document["files"]:
            assert hashlib.sha256((release / file["path"]).read_bytes()).hexdigest() == file["sha256"], file
    if robot.current is not None:
        verified = robot.record(robot.current, "verify")
        assert verified["passed"] is True
        assert verified["engine_sha256"] == robot.record(robot.current, "engine")["sha256"]


def content(folder: Path, names: list[str]) -> str:
    """As the program states what a model's files hold."""
    hashes = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def pure_wheel(folder: Path, name: str, version: str, source: str) -> Path:
    """A package of one module, for every Python."""
    files = {f"{name}/__init__.py": source.encode()}
    return _write_wheel(folder, name, version, ["py3-none-any"], f"Name: {name}\nVersion: {version}\n", files)


def installed_wheel(folder: Path, package: str) -> Path:
    """The wheel that a package was installed from, as far as it lies in the environment's folder; without its tests, and without
    what programs in other languages link to."""
    distribution = importlib.metadata.distribution(package)
    tags = [line.partition(": ")[2] for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    files = {
        file.as_posix(): Path(str(distribution.locate_file(file))).read_bytes()
        for file in distribution.files or ()
        if not file.as_posix().startswith("..")
        and file.suffix != ".pyc"
        and not {"tests", "transformers"} & set(file.parts)
        and not file.name.startswith("libonnxruntime.so")
        and not file.parts[0].endswith(".dist-info")
    }
    metadata = distribution.read_text("METADATA") or ""
    return _write_wheel(folder, package, distribution.version, tags, metadata, files)


def _write_wheel(folder: Path, name: str, version: str, tags: list[str], metadata: str, files: dict[str, bytes]) -> Path:
    """PyPA, Binary distribution format. Stored, not deflated: it is read where it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (".".join(dict.fromkeys(part)) for part in zip(*(tag.split("-") for tag in tags), strict=True))
    path = folder / f"{name}-{version}-{'-'.join(parts)}.whl"
    info = f"{name}-{version}.dist-info"
    wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n" + "".join(f"Tag: {tag}\n" for tag in tags)
    header = "" if metadata.startswith("Metadata-Version") else "Metadata-Version: 2.1\n"
    files = {**files, f"{info}/METADATA": (header + metadata).encode(), f"{info}/WHEEL": wheel.encode()}
    record = "".join(f"{each},sha256={_digest(data)},{len(data)}\n" for each, data in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(each, data)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def python_with(folder: Path, python: str, packages: Path | None = None) -> Path:
    """A Python that finds these packages before its own. A link to one in an environment would lose that environment."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python3"
    more = f'PYTHONPATH="{packages}" ' if packages else ""
    path.write_text(f'#!/bin/sh\n{more}exec "{python}" "$@"\n')
    path.chmod(0o755)
    return path


def inodes(folder: Path) -> dict[int, list[str]]:
    """Files by what they share on the disk."""
    shared: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            shared.setdefault(path.stat().st_ino, []).append(path.relative_to(folder).as_posix())
    return shared
