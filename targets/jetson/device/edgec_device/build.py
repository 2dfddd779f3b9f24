"""build: an engine for each variant, on the board's own GPU."""

from __future__ import annotations

import shutil
from typing import Sequence

from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.files import sha256_of
from edgec_onboard.measurements import now

from edgec_device.bundle import BUNDLE, Variant
from edgec_device.evidence import engine_doubts
from edgec_device.files import publish_folder, write_record
from edgec_device.output import elapsed, megabytes
from edgec_device.session import Engine, Session
from edgec_device.tool import PLAN
from edgec_device.versions import dotted


def build(session: Session, variants: Sequence[Variant], *, again: bool) -> dict[str, BoardError]:
    """Build the engines that do not exist yet; with `again`, also those that failed verification.

    Returns the variants that failed, with the reason. A failure does not keep the others from being built. Raises `DiskFull`.
    """
    session.require_release()
    session.output.step("build", f"{session.tool.title} {dotted(session.tool.version)}, {session.tool.gpu.name}")
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
    with layout.scratch(layout.engines) as work:
        places = {"release": session.release, "work": work, "caches": layout.timing_caches, "log": log}
        seconds = session.tool.build(variant, engine.flags, **places)
        plan = work / PLAN
        size = plan.stat().st_size
        write_record(
            work / "engine.json",
            {
                "variant": variant.name,
                "precision": variant.precision,
                "sha256": sha256_of(plan),
                "size_bytes": size,
                "tensorrt": dotted(session.tool.version),
                "gpu": session.tool.gpu.name,
                "compute_capability": session.tool.gpu.compute_capability,
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
