"""Updates by an OTA tool whose power fails, or whose disk fills up, at moments drawn over their whole course; then once more."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from benchmarks.disturbed import Figures
from benchmarks.ota.mender import MenderRobot
from benchmarks.ota.releases import NAME, NEW, OLD, Releases, prepare
from benchmarks.ota.robot import Ended, Robot

TOOLS = {"rauc": ".raucb", "swupdate": ".swu", "mender": ".mender"}
_DISK = "80m"
"""What a small release needs, and the 64 MB that the board's program wants to be free."""
_FILLER = "filler"


class Updates:
    """Updates from `OLD` to `NEW` by one tool. Each robot begins as one on which the old release was installed by that tool, or
    as `origin`. `updated` is a robot after an update that nobody disturbed, which took `seconds`."""

    def __init__(self, folder: Path, releases: Releases, tool: str, origin: Robot | None = None) -> None:
        self.folder, self.releases, self.tool = folder, releases, tool
        folder.mkdir()
        files = folder / "files"
        for version in (OLD, NEW):
            releases.make(version, files)
        self.file, self.old_file = (files / f"{NAME}-{version}{TOOLS[tool]}" for version in (NEW, OLD))
        self.robots = MenderRobot if tool == "mender" else Robot
        self.origin = origin or self.robots(folder / "origin", releases)
        if origin is None:
            self._install(self.origin, self.old_file, OLD)
        self.updated = self.robots(folder / "updated", releases)
        self.updated.copy_data(self.origin)
        self.seconds = self._install(self.updated, self.file, NEW)

    def _install(self, robot: Robot, file: Path, version: str) -> float:
        ended = robot.install(self.tool, file)
        if ended.code or robot.active() != version:
            raise RuntimeError(f"{file.name} cannot be installed: it ended with {ended.code}: {ended.output[-3000:]}")
        return ended.seconds

    @contextmanager
    def robot(self, *, small: bool = False) -> Iterator[Robot]:
        """With the old release; its data on a small disk, or not."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        robot = self.robots(place, self.releases)
        if small:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", robot.data], check=True)
        try:
            robot.copy_data(self.origin)
            yield robot
        finally:
            if small:
                subprocess.run(["umount", "--lazy", robot.data], check=True)
            shutil.rmtree(place)

    def power_fails(self, robot: Robot, after: float) -> tuple[Ended, str]:
        """What was seen, and what does not hold (empty: all does)."""
        ended = robot.install(self.tool, self.file, after=after)
        problem = self.problem(robot, ended)
        if isinstance(robot, MenderRobot):
            problem = problem or robot.settle()
        return ended, problem

    def disk_fills(self, robot: Robot, after: float) -> tuple[Ended, str]:
        """As `power_fails`. Somebody else takes all that is free, then removes it."""
        filler = robot.data / _FILLER
        ended = robot.install(self.tool, self.file, after=after, act=lambda: fill(filler))
        problem = self.problem(robot, ended)
        filler.unlink(missing_ok=True)
        return ended, problem

    def problem(self, robot: Robot, ended: Ended) -> str:
        """Whether neither of the two releases is active, or the tool said that it succeeded and the old one is."""
        active = robot.active()
        if active not in (OLD, NEW):
            return f"{active or 'nothing'} is active; it ended with {ended.code}: {ended.output[-2000:]}"
        if ended.code == 0 and active != NEW:
            return f"it succeeded, and the old release is active: {ended.output[-2000:]}"
        return ""

    def again(self, robot: Robot) -> str:
        """The same update, undisturbed: what does not hold."""
        before = robot.program("status")
        if before.code:
            return f"status ended with {before.code}: {before.output[-2000:]}"
        ended = robot.install(self.tool, self.file)
        if ended.code or robot.active() != NEW:
            return f"the same update again ended with {ended.code}, {robot.active()} is active: {ended.output[-3000:]}"
        if robot.update_is_open:
            return "the update was not committed"
        left = [str(path.relative_to(robot.data)) for path in robot.data.rglob(".tmp-*")]
        return f"not swept up: {left}" if left else ""


def fill(path: Path) -> None:
    """Take all that is free on its file system, to the last page."""
    with path.open("wb") as file:
        step = 1 << 20
        while step >= 1 << 12:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
            except OSError:
                step //= 2


def run(tool: str, count: int, seed: int, listener: Callable[[int, str], None] = lambda turn, problem: None) -> Figures:
    """Half of the turns lose their power, the others their disk's room. Always the old or the new release is active, the tool
    does not call a failure a success, and the same update again succeeds and leaves nothing behind."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="edgec-ota-", ignore_cleanup_errors=True) as name:
        updates = Updates(Path(name) / tool, prepare(Path(name)), tool)
        for turn in range(count):
            random = Random(f"{seed}:{turn}")
            after, full = random.uniform(0, 1.05 * updates.seconds), turn % 2 == 1
            with updates.robot(small=full) as robot:
                ended, problem = (updates.disk_fills if full else updates.power_fails)(robot, after)
                what = "the disk was full" if full else "the power failed"
                late = ended.code == 0
                if late:
                    updates.seconds = min(updates.seconds, ended.seconds)  # the machine is less busy than at first
                figures.count(f"{what}, {'too late' if late else f'{robot.active()} active afterwards'}")
                problem = problem or updates.again(robot)
            figures.tried += 1
            if problem:
                figures.problems.append(f"turn {turn}, {what} after {after:.2f} s: {problem}")
            listener(turn, problem)
    return figures
