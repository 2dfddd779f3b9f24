"""How many threads numpy's BLAS takes. Two are no faster than one on products as small as attention's, and on busy cores each
waits for the other: a ViT-S/16 at 480x640 took 1.5 s in one thread and 3 to 5 s in two on two busy cores. One thread also sums in
the same order on every machine."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from edgec import extras
from edgec.host.cores import usable_cores


def blas_threads() -> int:
    """How many threads a program runs in: one, or numpy's own choice where threadpoolctl, which sets it, is not installed."""
    return 1 if extras.installed("threadpoolctl") else usable_cores()


def one_thread() -> AbstractContextManager[object]:
    """While entered, numpy's BLAS runs in one thread, if threadpoolctl is installed."""
    if not extras.installed("threadpoolctl"):
        return nullcontext()
    limits: AbstractContextManager[object] = extras.load("threadpoolctl").threadpool_limits(1, "blas")
    return limits
