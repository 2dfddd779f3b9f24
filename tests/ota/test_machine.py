"""RAUC's artifact repositories, for which a kernel has dm-verity: on an emulated machine, whose power really fails.

It takes minutes, and runs only with EDGEC_OTA_FULL=1.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.arm64.debian import Unavailable
from benchmarks.ota.debian import BUS
from benchmarks.ota.interruptions import Updates
from benchmarks.ota.machine import Machine
from benchmarks.ota.releases import BAD, NAME, NEW, OLD, Releases

pytestmark = pytest.mark.skipif(os.environ.get("EDGEC_OTA_FULL") != "1", reason="takes minutes: set EDGEC_OTA_FULL=1")

START = f"""
mkdir -p /run/dbus /var/lib/edgec-rauc
dbus-daemon --config-file=/{BUS} --fork
rauc service &
until rauc status >/dev/null 2>&1; do sleep 1; done
"""
INSTALL = """
rauc install /media/{file}
echo "{what} ended with $?"
echo "{what}: $(sha256sum /var/lib/edgec/*/current/model.onnx)"
"""
BOOT = """
echo  # the firmware's last line has no end
echo "before: $(sha256sum /var/lib/edgec/*/current/model.onnx)"
/usr/lib/edgec/edgec-ota boot
echo "boot ended with $?"
"""
REPOSITORY = """
echo "repository: $(readlink /var/lib/edgec-rauc/*)"
"""


def test_an_artifact_repository_and_a_power_cut(updates_by: Callable[[str], Updates], tmp_path: Path) -> None:
    """The old release was installed on this machine: its own CPU has another name."""
    updates = updates_by("rauc")
    releases = updates.releases
    try:
        machine = Machine(tmp_path, updates.origin.own, updates.origin.data)
    except Unavailable as problem:
        pytest.skip(f"no emulated robot: {problem}")
    for version in (NEW, BAD):
        releases.make(version, tmp_path, form="verity")
    files = {version: tmp_path / f"{NAME}-{version}.raucb" for version in (NEW, BAD)}
    content = bytearray(files[NEW].read_bytes())
    content[len(content) // 3] ^= 1
    changed = Path(shutil.copy(files[NEW], tmp_path / "changed.raucb"))
    changed.write_bytes(content)

    steps = (("changed", changed), ("bad", files[BAD]))
    script = START + "".join(INSTALL.format(what=what, file=file.name) for what, file in steps) + REPOSITORY
    code, output = machine.run(script, [file for _, file in steps])
    assert code == 0, output
    assert [_ended(output, what) for what, _ in steps] == [1, 1], output
    assert "is corrupted" in output, "dm-verity noticed it"
    assert "No engine reproduces the golden features" in output
    assert {_active(output, what, releases) for what, _ in steps} == {OLD}
    assert re.search(rf"repository: \.artifact-{NAME}-[0-9a-f]{{64}}", output)

    # The board's program has switched to the new release, and not yet looked at it again.
    code, output = machine.run(START + INSTALL.format(what="new", file=files[NEW].name), [files[NEW]], until="activate: ")
    assert code is None, output
    code, output = machine.run(BOOT + START + INSTALL.format(what="again", file=files[NEW].name), [files[NEW]])
    assert code == 0, output
    assert _active(output, "before", releases) in (OLD, NEW)
    assert (_ended(output, "boot"), _ended(output, "again")) == (0, 0), output
    assert _active(output, "again", releases) == NEW


def _ended(output: str, what: str) -> int:
    found = re.search(rf"^{what} ended with (\d+)", output, re.MULTILINE)
    assert found, output
    return int(found[1])


def _active(output: str, what: str, releases: Releases) -> str:
    found = re.search(rf"^{what}: ([0-9a-f]{{64}}) ", output, re.MULTILINE)
    assert found, output
    return next(version for version in (OLD, NEW) if releases.model(version) == found[1])
