"""How large an installation without the compiler is: the wheels that pip chooses for a platform, counted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgec.errors import EdgecError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
GLIBC = (17, 27, 28, 31, 34, 35)
"""Of Debian 12 and Ubuntu 22.04, and all older ones."""
SETS: tuple[tuple[str, ...], ...] = ((), ("openvino",), ("pictures",))


def requirements(extras: Sequence[str]) -> list[str]:
    """What `pip install 'edgec[extras]'` asks for, beside edgec itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def wheels(extras: Sequence[str], machine: str, python: str, folder: Path) -> list[Path]:
    """Downloads the wheels of a Linux machine of this architecture. Raises `EdgecError` if pip cannot."""
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in GLIBC]
    command = [
        *(sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", f"--python-version={python}"),
        *(*platforms, f"--platform=manylinux2014_{machine}", "-c", str(ROOT / "constraints.txt"), "-d", str(folder)),
        *requirements(extras),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgecError("pip could not fetch the wheels.", evidence=done.stderr.strip().splitlines()[-3:])
    return sorted(folder.glob("*.whl"))


def unpacked(wheel: Path) -> int:
    """Bytes of all files in it."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(file.file_size for file in archive.infolist())


def measure_installs(machine: str, python: str, *, listed: bool = False) -> None:
    """Prints a line for each set of extras: packages, what is downloaded, and what that is on disk, in MB. `listed` adds each
    package. edgec's own wheel is not in these figures; most of it is the demo's checkpoint and pictures."""
    table = Table("extras", "packages", "downloaded, MB", "on disk, MB", title=f"{machine}, Python {python}")
    console = Console()
    for extras in SETS:
        with tempfile.TemporaryDirectory(prefix="edgec-wheels-") as folder:
            found = wheels(extras, machine, python, Path(folder))
            sizes = [(wheel.name.split("-")[0], wheel.stat().st_size / 1e6, unpacked(wheel) / 1e6) for wheel in found]
        packed, whole = sum(size for _, size, _ in sizes), sum(size for *_, size in sizes)
        table.add_row(", ".join(extras) or "none", str(len(sizes)), f"{packed:.1f}", f"{whole:.1f}")
        if listed:
            for name, before, after in sorted(sizes, key=lambda each: -each[1]):
                table.add_row(f"  {name}", "", f"{before:.1f}", f"{after:.1f}")
    console.print(table)
