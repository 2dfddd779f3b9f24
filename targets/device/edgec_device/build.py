"""build: an engine for each variant, on the board itself."""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath
from typing import Sequence

from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.files import sha256_of
from edgec_onboard.measurements import now

from edgec_device.bundle import BUNDLE, Variant, combined
from edgec_device.files import publish_folder, write_record
from edgec_device.output import elapsed, megabytes
from edgec_device.session import Engine, Session


def build(session: Session, variants: Sequence[Variant], *, again: bool) -> dict[str, BoardError]:
    """Build the engines that do not exist yet; with `again`, also those that failed verification.

    Returns the variants that failed, with the reason. A failure does not keep the others from being built. Raises `DiskFull`.
    """
    session.require_release()
    session.output.step("build", f"{session.tool.title}, {session.tool.processor}")
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
    layout, variant, tool = session.layout, engine.variant, session.tool
    log = layout.logs / f"build-{variant.name}.log"
    with layout.scratch(layout.engines) as work:
        places = {"release": session.release, "work": work, "caches": layout.timing_caches, "log": log}
        seconds = tool.build(variant, engine.flags, **places)
        names = list(tool.files(variant, work))
        size = sum((work / name).stat().st_size for name in names)
        write_record(
            work / "engine.json",
            {
                "variant": variant.name,
                "precision": variant.precision,
                "files": names,
                "sha256": combined([sha256_of(work / name) for name in names]),
                "size_bytes": size,
                **tool.identity(variant),
                "flags": list(engine.flags),
                "model_sha256": variant.sha256,
                "build_key": session.bundle.build_key,
                "build_seconds": round(seconds, 1),
                "created": now(),
                "doubts": session.doubts() + tool.engine_doubts(work / PurePosixPath(names[0]).parts[0]),
            },
        )
        shutil.copyfile(str(session.release / BUNDLE), str(work / "bundle.json"))
        publish_folder(work, engine.folder)
    text = f"  {variant.name}: {megabytes(size)} in {elapsed(seconds)}"
    session.output.emit(
        "done", text, step="build", variant=variant.name, result="built", size_bytes=size, seconds=round(seconds, 1)
    )
