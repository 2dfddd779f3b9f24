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

import av
import numpy as np
from numpy.typing import NDArray

import edgec

HERE = Path(__file__).resolve().parent
LATER = 0.5
"""The share of the video that the mask was fitted on, and that is not used here: `FIRST` in fit.py."""
AGREEMENT, IOU, COST = 0.99, 0.97, 0.10
"""The goals: frames with the same class, mean IoU of the masks, what the heads may add to the backbone's latency."""
TURNS = 3


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
    command("build", checkpoint, *head_options, "--precision", "int8", *common, "-o", str(out / "robot.edgec"))
    command("build", checkpoint, "--precision", "int8", *common, "-o", str(out / "backbone.edgec"))

    frames = later(video, options.frames)
    agreement, iou = compare(checkpoint, heads, edgec.Size.parse(options.input_size), frames, out / "robot.edgec")
    cost = heads_cost(out / "robot.edgec", out / "backbone.edgec")

    command("run", str(out / "robot.edgec"), video, "--output", str(out / "pictures"), "--every", "80", "--force")
    for target in ("jetson", "apple"):
        # The board, or the Mac, chooses the precision itself; here everything that it chooses from is verified.
        command("build", checkpoint, *head_options, "--target", target, *common, "-o", str(out / f"{target}.edgec"))
        command("verify", str(out / f"{target}.edgec"))
    return print_result(agreement, iou, cost, len(frames))


def later(video: str, count: int) -> list[NDArray[np.uint8]]:
    """Frames of the part that nothing was fitted on, evenly spaced, each uint8 [H, W, 3]."""
    with av.open(video) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    rest = frames[int(len(frames) * LATER) :]
    return [rest[index] for index in np.linspace(0, len(rest) - 1, min(count, len(rest))).round().astype(int)]


def compare(
    checkpoint: str, heads: list[str], size: edgec.Size, frames: list[NDArray[np.uint8]], artefact: Path
) -> tuple[float, float]:
    """Compare float32 PyTorch with the int8 artefact in its runtime: the share of frames with the same class, and the mean IoU of
    the two masks. `heads` are NAME=PATH."""
    same, both, either = 0, np.zeros(2), np.zeros(2)
    expected = edgec.features(checkpoint, frames, size=size, heads=heads)
    for one, other in zip(expected, edgec.features(artefact, frames), strict=True):
        same += int(one.outputs["class"].argmax() == other.outputs["class"].argmax())
        for label in range(2):
            first, second = one.outputs["movers"] == label, other.outputs["movers"] == label
            both[label] += (first & second).sum()
            either[label] += (first | second).sum()
    return same / len(frames), float((both / np.maximum(either, 1)).mean())


def heads_cost(robot: Path, backbone: Path) -> float:
    """What the heads add to the median latency, as a share. The two are measured in turns, each in processes of its own."""
    medians = [[edgec.bench(path, iterations=60).latency.p50_ms for path in (robot, backbone)] for _ in range(TURNS)]
    whole, alone = np.median(medians, axis=0)
    print(f"p50 {whole:.2f} ms with both heads, {alone:.2f} ms without", flush=True)
    return float(whole / alone - 1)


def print_result(agreement: float, iou: float, cost: float, frames: int) -> int:
    """Print the goals and whether they are met; returns the exit code."""
    goals = (
        ("same class as float32", agreement, f"{AGREEMENT:.0%} or more", agreement >= AGREEMENT),
        ("mean IoU with float32's mask", iou, f"{IOU:g} or more", iou >= IOU),
        ("what the heads add to the backbone", cost, f"{COST:.0%} or less", cost <= COST),
    )
    print(f"\n{frames} frames of the rest of the video, int8, on this machine:")
    for what, value, goal, met in goals:
        print(f"  {what:36} {value:8.4f}   goal {goal:12} {'met' if met else 'MISSED'}")
    return 0 if all(met for *_, met in goals) else 1


def command(*words: str) -> None:
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
