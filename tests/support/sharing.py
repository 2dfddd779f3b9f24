"""Several processes that run tests on one machine: none takes what another needs, and none does twice what it can do once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

HAS_SHARES = hasattr(os, "sched_setaffinity")
CORES = frozenset(os.sched_getaffinity(0)) if HAS_SHARES else frozenset(range(os.cpu_count() or 1))
"""All that there are for the tests of this machine, whatever share this process has."""


@contextmanager
def every_core() -> Iterator[None]:
    """All cores again, for tests of threads and of what other work on the machine does."""
    if not HAS_SHARES:
        yield
        return
    share = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, share)


def take_share() -> None:
    """Give this process, and what it starts, its own share of the cores, if it is one of several that pytest-xdist runs.

    Every library counts the cores that it may use and starts as many threads; those of several processes would take turns on the
    same cores, and ONNX Runtime's spin while they wait for one another: a build of two blocks takes 5.3 s of a core that is its
    own, and 7.0 s of two that others use, too. edgec counts cores in the same way (`edgec.host.cores`).
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if not worker.startswith("gw") or not HAS_SHARES:
        return
    mine = sorted(CORES)[int(worker[2:]) :: count]
    if mine:
        os.sched_setaffinity(0, mine)


def read_operators_once() -> None:
    """`torch.onnx.export` reads the sources of all 400 operators that onnxscript writes, each time, which is a third of the time
    that the export of a small model takes. They stay the same as long as the process runs. Where a version keeps the function
    elsewhere, it is left alone."""
    try:
        from onnxscript._framework_apis import torch_2_5
        from torch.onnx._internal.exporter import _registration

        apis = _registration.onnxscript_apis
        if apis.get_torchlib_ops is torch_2_5.get_torchlib_ops:
            apis.get_torchlib_ops = functools.cache(torch_2_5.get_torchlib_ops)
    except (ImportError, AttributeError):
        return
