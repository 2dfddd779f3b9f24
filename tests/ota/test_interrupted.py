"""Updates that lose their power, or their disk's room: the old release is active or the new one, and the next try succeeds.

`python -m benchmarks ota` does the same at a hundred moments.
"""

from __future__ import annotations

from benchmarks.ota.interruptions import Updates
from benchmarks.ota.releases import NEW, OLD

MOMENTS = (0.2, 0.5, 0.8)
"""Of the time that an update takes."""


def test_the_power_fails(updates: Updates) -> None:
    """Again and again, on one robot: each try goes on where the one before was."""
    with updates.robot() as robot:
        for moment in MOMENTS:
            ended, problem = updates.power_fails(robot, moment * updates.seconds)
            assert not problem, f"{moment}: {problem}"
            assert ended.code in (0, -9), f"{moment}: {ended.output}"
        # As the image's unit does at the next start.
        ended = robot.run("/usr/lib/edgec/edgec-ota", "boot")
        assert ended.code == 0, ended.output
        assert not (robot.data / "edgec" / "update.json").exists(), ended.output
        assert robot.active() in (OLD, NEW)
        assert not updates.again(robot)


def test_the_disk_fills_up(updates: Updates) -> None:
    with updates.robot(small=True) as robot:
        for moment in MOMENTS:
            _, problem = updates.disk_fills(robot, moment * updates.seconds)
            assert not problem, f"{moment}: {problem}"
        assert not updates.again(robot)
