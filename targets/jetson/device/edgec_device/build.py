"""build: an engine for each variant, on the board's own GPU."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Sequence

from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.files import SCRATCH, publish, sha256_of
from edgec_onboard.measurements import now

from edgec_device.bundle import BUNDLE, Variant
from edgec_device.errors import TrtexecFailed
from edgec_device.evidence import engine_doubts
from edgec_device.files import publish_folder, write_record
from edgec_device.output import elapsed, megabytes
from edgec_device.session import PLAN, Engine, Session
from edgec_device.versions import dotted

_CACHE = "timing.cache"


def build(session: Session, variants: Sequence[Variant], *, again: bool) -> dict[str, BoardError]:
    """Build the engines that do not exist yet; with `again`, also those that failed verification.

    Returns the variants that failed, with the reason. A failure does not keep the others from being built. Raises `DiskFull`.
    """
    session.require_release()
    session.output.step("build", f"TensorRT {dotted(session.trtexec.version)}, {session.trtexec.gpu.name}")
    failed: dict[str, BoardError] = {}
    for variant in variants:
        engine = session.engine(variant)
        failed_before = again and not (engine.verified(session.bundle) or {"passed": True})["passed"]
        if engine.whole and not failed_before:
            text = f"  {variant.name}: nothing to do, {engine.folder.name} exists"
            session.output.emit("done", text, step="build", variant=variant.name, result="unchanged")
            continue
        try:
            _build(session, engine)
        except DiskFull:
            raise
        except BoardError as error:
            failed[variant.name] = error
            session.remember_problem(variant.name, "build", str(error))
            session.output.problem("build", variant.name, error)
        else:
            session.remember_problem(variant.name, "build", None)
    return failed


def _build(session: Session, engine: Engine) -> None:
    """Build in a scratch folder, flush it and rename it: no folder with an engine's name ever holds half an engine."""
    layout, variant = session.layout, engine.variant
    log = layout.logs / f"build-{variant.name}.log"
    saved_cache = _timing_cache(session)
    with layout.scratch(layout.engines) as work:
        cache = work / _CACHE
        if saved_cache.is_file():
            shutil.copyfile(str(saved_cache), str(cache))
        try:
            seconds = _run(session, engine, work, log)
        except TrtexecFailed as error:
            # trtexec notices a damaged cache only when it writes it back, after all the work.
            if not saved_cache.is_file() or not _blames_cache(error):
                raise
            note = f"the timing cache seems damaged ({error.what}); building again without it"
            session.output.emit("log", "  " + note, step="build", variant=variant.name, line=note)
            saved_cache.unlink()
            cache.unlink()
            seconds = _run(session, engine, work, log)
        plan = work / PLAN
        if not plan.is_file() or not plan.stat().st_size:
            raise TrtexecFailed(
                "trtexec reports success, but wrote no engine.",
                evidence=[f"log: {log}"],
                remedy="run the same command again; if it happens again, report this with the log",
            )
        if cache.is_file():
            _save_cache(cache, saved_cache)
        size = plan.stat().st_size
        write_record(
            work / "engine.json",
            {
                "variant": variant.name,
                "precision": variant.precision,
                "sha256": sha256_of(plan),
                "size_bytes": size,
                "tensorrt": dotted(session.trtexec.version),
                "gpu": session.trtexec.gpu.name,
                "compute_capability": session.trtexec.gpu.compute_capability,
                "flags": list(engine.flags),
                "onnx_sha256": variant.sha256,
                "build_key": session.bundle.build_key,
                "build_seconds": round(seconds, 1),
                "created": now(),
                "doubts": session.doubts() + engine_doubts(plan),
            },
        )
        shutil.copyfile(str(session.release / BUNDLE), str(work / "bundle.json"))
        publish_folder(work, engine.folder)
    text = f"  {variant.name}: {megabytes(size)} in {elapsed(seconds)}"
    session.output.emit(
        "done", text, step="build", variant=variant.name, result="built", size_bytes=size, seconds=round(seconds, 1)
    )


def _run(session: Session, engine: Engine, work: Path, log: Path) -> float:
    arguments = [
        f"--onnx={(session.release / engine.variant.path).resolve()}",
        "--saveEngine=" + PLAN,
        "--timingCacheFile=" + _CACHE,
        "--verbose",
        *engine.flags,
    ]
    return session.trtexec.run(arguments, cwd=work, step="build", variant=engine.variant.name, log=log).seconds


def _timing_cache(session: Session) -> Path:
    """One file for each GPU and TensorRT version: timings of another would be wrong, or refused."""
    gpu, version = session.trtexec.gpu, session.trtexec.version
    name = re.sub(r"[^A-Za-z0-9]+", "-", gpu.name).strip("-").lower()
    return session.layout.timing_caches / f"{name}-sm{gpu.compute_capability}-trt{dotted(version)}.cache"


def _save_cache(cache: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = destination.with_name(SCRATCH + destination.name)
    shutil.copyfile(str(cache), str(work))
    cache.unlink()
    publish(work, destination)


def _blames_cache(error: TrtexecFailed) -> bool:
    words = [fact.lower() for fact in error.evidence if not fact.startswith("log:")]
    return any("timingcache" in fact.replace(" ", "") for fact in words)
