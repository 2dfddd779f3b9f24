from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from edgec.backends.profiles import resolve
from edgec.backends.registry import get
from edgec.host.facts import caveats, contention, describe, evidence_here, facts, governor
from edgec.onboard.cgroup import within_quota
from edgec.records.evidence import Evidence
from edgec.records.report import Host


def host(**changes: object) -> Host:
    plain = Host(
        cpu="a CPU",
        architecture="x86_64",
        physical_cores=4,
        logical_cores=8,
        usable_cores=2,
        memory_bytes=8_000_000_000,
        governor="performance",
        virtual_machine=False,
        os="Linux",
        python="3.11",
    )
    return plain.model_copy(update=changes)


def test_the_facts_of_this_host() -> None:
    here = facts()
    assert here.cpu != "unknown"
    assert here.isa
    assert 1 <= here.usable_cores <= here.logical_cores
    assert here.physical_cores <= here.logical_cores == os.cpu_count()
    assert here.memory_bytes > 100_000_000
    assert here.versions["numpy"] == version("numpy")
    assert here.python == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_counts() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert facts().usable_cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("cores", "quota", "threads"), [(8, None, 8), (8, 3.0, 3), (8, 2.9, 2), (8, 0.5, 1), (2, 16.0, 2), (1, None, 1)]
)
def test_a_thread_that_the_quota_does_not_pay_for_is_left_out(cores: int, quota: float | None, threads: int) -> None:
    assert within_quota(cores, quota) == threads


def test_governors(tmp_path: Path) -> None:
    assert governor(tmp_path) is None
    for index, name in enumerate(["schedutil", "performance", "schedutil"]):
        folder = tmp_path / f"cpu{index}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    assert governor(tmp_path) == "performance, schedutil"


def test_a_quiet_machine_has_no_caveats() -> None:
    assert caveats(host(), 0.3) == ()
    assert caveats(host(governor=None, virtual_machine=None), 0.3) == ()


@pytest.mark.parametrize(
    ("changes", "load", "word"),
    [
        ({"governor": "powersave"}, 0.0, "powersave"),
        ({}, 3.2, "3.2"),
        ({"virtual_machine": True}, 0.0, "virtual machine"),
        ({"emulated_on": "x86_64"}, 0.0, "emulated on x86_64"),
    ],
)
def test_each_caveat_says_what_is_wrong(changes: dict[str, object], load: float, word: str) -> None:
    (caveat,) = caveats(host(**changes), load)
    assert word in caveat


@pytest.mark.parametrize(
    ("threads", "others", "told"),
    [(8, [0.0, 0.7], False), (8, [0.0, 0.9], True), (2, [6.1], False), (2, [6.5], True), (2, [], False)],
)
def test_work_that_takes_our_cores(threads: int, others: list[float], told: bool) -> None:
    actual = contention(host(), threads, others)
    assert bool(actual) is told
    assert all(f"{max(others):.1f} of 8" in each for each in actual)


def test_one_line() -> None:
    assert describe(host()) == "a CPU, 2 of 8 logical cores usable, 8.0 GB, Linux, governor performance"


def test_an_emulated_cpu_is_never_a_target() -> None:
    pi = resolve("cpu-raspberry-pi-5", host())
    real = host(architecture="aarch64", isa=("asimd", "asimddp", "fphp"))
    emulated = real.model_copy(update={"emulated_on": "x86_64"})
    lacks = get("cpu").lacks
    assert evidence_here(real, lacks(pi, real)) is Evidence.TARGET
    assert evidence_here(real, None) is evidence_here(real, ("i8mm",)) is Evidence.HOST
    assert lacks(pi, emulated) == ("a real CPU: this one is emulated on x86_64",)
    assert {evidence_here(emulated, each) for each in ((), None, lacks(pi, emulated))} == {Evidence.EMULATED}
    assert get("cpu").best([pi.model_copy(update={"rank": 1})], emulated).name == pi.name
    assert "emulated on x86_64" in describe(emulated)
