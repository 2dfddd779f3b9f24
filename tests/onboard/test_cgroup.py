from __future__ import annotations

from pathlib import Path

import pytest

from edgec.onboard.cgroup import cpu_limit, memory_limit


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_2_takes_the_tightest_of_all_levels(tmp_path: Path) -> None:
    write(tmp_path / "robot/vision/cpu.max", "max 100000\n")
    write(tmp_path / "robot/cpu.max", "150000 100000\n")
    write(tmp_path / "cpu.max", "400000 100000\n")
    write(tmp_path / "robot/vision/memory.max", "max\n")
    write(tmp_path / "robot/memory.max", "2147483648\n")
    membership = "0::/robot/vision\n"
    assert cpu_limit(membership, tmp_path) == 1.5
    assert memory_limit(membership, tmp_path) == 2147483648


def test_inside_a_container_the_path_is_not_mounted(tmp_path: Path) -> None:
    write(tmp_path / "cpu.max", "50000 100000\n")
    assert cpu_limit("0::/docker/0123456789ab\n", tmp_path) == 0.5


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, mount: str) -> None:
    write(tmp_path / mount / "slice/cpu.cfs_quota_us", "300000\n")
    write(tmp_path / mount / "slice/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "memory/slice/memory.limit_in_bytes", "9223372036854771712\n")
    write(tmp_path / "memory/memory.limit_in_bytes", "1073741824\n")
    membership = "12:cpu,cpuacct:/slice\n4:memory:/slice\n1:name=systemd:/\n"
    assert cpu_limit(membership, tmp_path) == 3
    assert memory_limit(membership, tmp_path) == 1073741824


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    write(tmp_path / "cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cpu/cpu.cfs_period_us", "100000\n")
    assert cpu_limit("1:cpu:/\n", tmp_path) is None


@pytest.mark.parametrize("membership", ["", "0::/\n", "1:cpu:/\n", "nonsense"])
def test_no_groups_no_limit(tmp_path: Path, membership: str) -> None:
    assert cpu_limit(membership, tmp_path) is None
    assert memory_limit(membership, tmp_path) is None
