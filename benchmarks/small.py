"""A small model and what is built of it, in seconds: for campaigns that need hundreds of artefacts, and not a good one."""

from __future__ import annotations

from pathlib import Path

FAMILIES = ("cpu-onnxruntime", "cpu-openvino", "jetson", "rtx", "apple")
SIZE = "32x48"


def prepare(folder: Path) -> None:
    """A checkpoint, frames, and profiles for this host with one runtime each."""
    from tests.support.files import save_checkpoint, save_profile
    from tests.support.frames import draw_pictures

    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    for runtime in ("onnxruntime", "openvino"):
        save_profile(folder / f"cpu-{runtime}.toml", {"fp32": [runtime], "int8": [runtime]})


def build_arguments(folder: Path, family: str, output: Path, *more: str) -> list[str]:
    """Of `edgec build`; `folder` is what `prepare` filled."""
    profile = folder / f"{family}.toml"
    target = str(profile) if profile.exists() else family
    arguments = ["build", str(folder / "checkpoint"), "--calibration", str(folder / "frames"), "--target", target]
    return [*arguments, "--input-size", SIZE, "--min-fidelity", "0.5", "--iterations", "5", "-o", str(output), *more]


def build(folder: Path, family: str, output: Path) -> None:
    """In this process."""
    from edgec import cli

    code = cli.run(build_arguments(folder, family, output, "--force"))
    if code:
        raise RuntimeError(f"building the small artefact for {family} ended with {code}")
