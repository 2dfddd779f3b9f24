"""One frozen backbone, two tasks, one artefact: fit two heads, build them in, and see what int8 leaves of their decisions.

    python examples/heads/robot.py --data ../shared/data --output robot/

Fits a classifier on `labelled/` and a mask of what moves on the first part of `video/vtest.avi` (`fit.py`), builds the backbone
with both heads for this CPU in int8, and runs the rest of the video through it and through float32 PyTorch: how often the class
is the same, how much of the mask is, and what the heads cost on top of the backbone alone. Then the same model for a Jetson and
for Apple's devices, which are verified here as far as that goes. Ends with exit code 1 if a goal is missed. Needs the extras
`cpu`, `apple`, `examples` and `video`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in fit.py

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgec import checkpoint as checkpoints
from edgec import frames as framing
from edgec.artefact.reading import open_artefact
from edgec.fidelity.metrics import Fidelity
from edgec.fidelity.reference import frame_features
from edgec.heads import read_heads
from edgec.heads.reference import CameraModelWithHeads
from edgec.latency.measure import measure
from edgec.model.camera import assemble
from edgec.model.spec import Size
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.verifying import load_runner

HERE = Path(__file__).resolve().parent
LATER = 0.5
"""The share of the video that the mask was fitted on, and that is not used here: `FIRST` in fit.py."""
AGREEMENT, IOU, COST = 0.99, 0.97, 0.10
"""The goals: frames with the same class, mean IoU of the masks, what the heads may add to the backbone's latency."""


def main() -> int:
    """Fit, build, compare and measure; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fit two heads, build them in, and compare int8 with float32.")
    parser.add_argument("--data", type=Path, required=True, help="with checkpoints/, calibration/, labelled/ and video/")
    parser.add_argument("--output", type=Path, required=True, help="an empty or new folder for heads, artefacts and pictures")
    parser.add_argument("--input-size", default="288x384", help="N or HxW (default: 288x384)")
    parser.add_argument("--frames", type=int, default=100, help="how many frames to compare, at most (default: 100)")
    options = parser.parse_args()
    checkpoint, video = str(options.data / "checkpoints" / "vits16-standin"), str(options.data / "video" / "vtest.avi")
    out: Path = options.output
    out.mkdir(parents=True, exist_ok=True)

    labelled = str(options.data / "labelled")
    fit = ["--labelled", labelled, "--video", video, "--input-size", options.input_size, "--output", str(out / "heads")]
    run(sys.executable, str(HERE / "fit.py"), checkpoint, *fit)
    heads = [f"class={out / 'heads' / 'class.safetensors'}", f"movers={out / 'heads' / 'movers.safetensors'}"]
    head_options = [word for head in heads for word in ("--head", head)]
    common = ["--calibration", str(options.data / "calibration"), "--input-size", options.input_size, "--force"]
    edgec("build", checkpoint, *head_options, "--precision", "int8", *common, "-o", str(out / "robot.edgec"))
    edgec("build", checkpoint, "--precision", "int8", *common, "-o", str(out / "backbone.edgec"))

    size = Size.parse(options.input_size)
    frames = later(video, size, options.frames)
    fidelity = compare(checkpoint, heads, size, frames, out / "robot.edgec")
    cost = heads_cost(out / "robot.edgec", out / "backbone.edgec", frames)

    edgec("run", str(out / "robot.edgec"), video, "--output", str(out / "pictures"), "--every", "80", "--force")
    for target in ("jetson", "apple"):
        # The board, or the Mac, chooses the precision itself; here everything that it chooses from is verified.
        edgec("build", checkpoint, *head_options, "--target", target, *common, "-o", str(out / f"{target}.edgec"))
        edgec("verify", str(out / f"{target}.edgec"))
    return print_result(fidelity, cost, len(frames))


def later(video: str, size: Size, count: int) -> NDArray[np.uint8]:
    """Frames of the part that nothing was fitted on, evenly spaced, uint8 [M, H, W, 3]."""
    frames = framing.load(video).frames
    rest = frames[int(len(frames) * LATER) :]
    indices = np.linspace(0, len(rest) - 1, min(count, len(rest))).round().astype(int)
    return np.stack([picture for _, picture in framing.batches([rest[index] for index in indices], size)])


def compare(checkpoint: str, references: list[str], size: Size, frames: NDArray[np.uint8], artefact: Path) -> StageFidelity:
    """Compare float32 PyTorch with the int8 artefact in its runtime. `references` are NAME=PATH of the heads."""
    heads = read_heads(references)
    model = CameraModelWithHeads(assemble(checkpoints.read(checkpoint), size, folded=False), heads)
    opened = open_artefact(artefact)
    runner = load_runner(opened)
    fidelity = Fidelity(opened.manifest.heads)
    for frame in frames:
        fidelity.add(frame_features(model, frame), runner(np.ascontiguousarray(frame[None])))
    return fidelity.summary(opened.manifest.precision, Evidence.HOST)


def heads_cost(robot: Path, backbone: Path, frames: NDArray[np.uint8]) -> float:
    """What the heads add to the median latency, as a share. Both models are measured in turns, each in its own process."""
    models = [open_artefact(path).lowered for path in (robot, backbone)]
    whole, alone = measure(models, frames[:, None], iterations=200, evidence=Evidence.HOST)
    assert whole.latency, whole.problem
    assert alone.latency, alone.problem
    print(f"p50 {whole.latency.p50_ms:.2f} ms with both heads, {alone.latency.p50_ms:.2f} ms without", flush=True)
    return whole.latency.p50_ms / alone.latency.p50_ms - 1


def print_result(fidelity: StageFidelity, cost: float, frames: int) -> int:
    """Print the goals and whether they are met; returns the exit code."""
    classes, masks = (next(filter(None, (getattr(task, kind) for task in fidelity.tasks))) for kind in ("classes", "masks"))
    goals = (
        ("same class as float32", classes.agreement, f"{AGREEMENT:.0%} or more", classes.agreement >= AGREEMENT),
        ("mean IoU with float32's mask", masks.mean_iou, f"{IOU:g} or more", masks.mean_iou >= IOU),
        ("what the heads add to the backbone", cost, f"{COST:.0%} or less", cost <= COST),
    )
    print(f"\n{frames} frames of the rest of the video, {fidelity.stage}, {fidelity.evidence.value}:")
    for what, value, goal, met in goals:
        print(f"  {what:36} {value:8.4f}   goal {goal:12} {'met' if met else 'MISSED'}")
    return 0 if all(met for *_, met in goals) else 1


def edgec(*words: str) -> None:
    """Run an edgec command."""
    run(sys.executable, "-m", "edgec", *words)


def run(*words: str) -> None:
    """Print a command and run it; exits with its exit code if that is not 0."""
    print("$ " + " ".join(["edgec", *words[3:]] if words[1] == "-m" else ["python", *words[1:]]), flush=True)
    done = subprocess.run(words, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    sys.exit(main())
