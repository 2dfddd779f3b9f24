"""What templates are told about the artefact."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

import edgec
from edgec.artefact import tolerances
from edgec.artefact.drift import CLS, read_drift
from edgec.artefact.reading import OpenArtefact
from edgec.backends.robot_code import RobotCode
from edgec.code.golden import DRIFT_GOLDEN, DRIFT_WORLD, FOLDER, FRAMES, Array
from edgec.code.identifiers import identifiers, type_name
from edgec.code.model import Engine, Model, is_legal
from edgec.lowering import registry
from edgec.onboard.arithmetic import GARBAGE
from edgec.onboard.drift import DIRECTIONS, THRESHOLD
from edgec.onboard.tasks import FEATURES, LABELS
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import Manifest, SizeFacts, Tensor


@dataclass(frozen=True)
class Output:
    """An output of the model. `member` is its identifier, `type` its element in C++, `values` their number in one frame, `vector`
    how many of them are compared by one cosine, `recorded` the file with what was recorded, `classes` the array of class names;
    empty without."""

    name: str
    member: str
    role: str
    type: str
    shape: tuple[int, ...]
    values: int
    vector: int
    recorded: str
    meaning: str
    classes: str


@dataclass(frozen=True)
class Enumeration:
    """A head's classes: the names, and what they are called in C++."""

    head: str
    type: str
    array: str
    members: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """A file that the program checks before it reads it, by its path in the artefact's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DriftScore:
    """The drift score (`edgec.onboard.drift`) of the CLS token, which is the output of index `output` and has `width` values.
    `world` is the file with mean, weights and axes, `recorded` the one with the scores of what was recorded of the golden frames;
    `most` is the score of a token that is not finite. Numbers are spelt as C++ and Python read them."""

    output: int
    width: int
    directions: int
    threshold: str
    most: str
    world: str
    recorded: str


@dataclass(frozen=True)
class Contract:
    """`context` is for templates; `arrays` are the golden files that it names."""

    context: dict[str, Any]
    arrays: tuple[Array, ...]


def contract_of(artefact: OpenArtefact, model: Model, code: RobotCode, namespace: str, more: Sequence[Array] = ()) -> Contract:
    """The default size's contract. `more` are files that the artefact does not have."""
    manifest, size = artefact.manifest, artefact.sizes[0]
    enumerations = _enumerations(manifest.heads)
    outputs = _outputs(size.facts, manifest.heads, enumerations)
    arrays = [*more, Array.of(FRAMES, size.golden.frames)]
    arrays += [Array.of(output.recorded, model.expected[output.name]) for output in outputs]
    drift, drift_arrays = _drift(artefact, size.facts, model) if code.drift else (None, [])
    arrays += drift_arrays
    files = [File(each.path, each.size_bytes, each.sha256) for each in model.files if not is_legal(PurePosixPath(each.path))]
    files += [File(each.path, len(each.content), each.sha256) for each in arrays]
    context = {
        "namespace": namespace,
        "edgec_version": edgec.__version__,
        "title": f"{manifest.checkpoint.name}, {model.precision} in {registry.get(model.runtime).title}",
        "build_key": manifest.build_key,
        "target": manifest.target,
        "precision": model.precision,
        "runtime_title": registry.get(model.runtime).title,
        "runtime_pin": _pin(manifest, model.runtime),
        "runtime_requirement": f"{model.runtime}{_pin(manifest, model.runtime)}",
        "runtime_target": code.runtime_target,
        "gpu": code.gpu,
        "entry": model.entry,
        "engine": model.engine or Engine("", ""),
        "versions": model.versions,
        "settings": model.said_settings,
        "input": size.facts.input,
        "input_names": _input_names(size.facts.input),
        "function": size.facts.function,
        "package": str(PurePosixPath(model.entry).parent),
        "outputs": outputs,
        "enumerations": enumerations,
        "golden_frames": FRAMES,
        "golden_count": size.facts.golden.count,
        "drift": drift,
        "tolerance": {
            "difference": repr(model.allowed.difference),
            "cosine": repr(model.allowed.cosine),
            "labels": repr(model.allowed.labels),
            "head_moves": repr(tolerances.HEAD_MOVES),
            "head_slack": repr(tolerances.HEAD_SLACK),
            "still": repr(tolerances.STILL),
            "labels_still": repr(tolerances.LABELS_STILL),
        },
        "files": files,
        "has_licence": any(is_legal(PurePosixPath(each.path)) for each in model.files),
    }
    return Contract(context, tuple(arrays))


def _outputs(size: SizeFacts, heads: Sequence[HeadFacts], enumerations: Sequence[Enumeration]) -> list[Output]:
    classes = {each.head: each.array for each in enumerations}
    of_head = {output: classes.get(head.name, "") for head in heads for output in head.outputs}
    members = identifiers([output.name for output in size.outputs], "output")
    outputs = []
    for output, member in zip(size.outputs, members, strict=True):
        values = math.prod(output.shape[1:])
        outputs.append(
            Output(
                name=output.name,
                member=member,
                role=output.role,
                type="std::int32_t" if output.role == LABELS else "float",
                shape=output.shape,
                values=values,
                # The direction of a row of a depth map, or of one pixel's logits, means nothing.
                vector=output.shape[-1] if output.role == FEATURES else values,
                recorded=f"{FOLDER}/{member}.bin",
                meaning=output.meaning or output.name,
                classes=of_head.get(output.name, ""),
            )
        )
    return outputs


def _drift(artefact: OpenArtefact, size: SizeFacts, model: Model) -> tuple[DriftScore | None, list[Array]]:
    """The score and its files; None if the artefact cannot tell."""
    known = read_drift(artefact, size)
    if known is None:
        return None, []
    tokens = model.expected[CLS]
    world = known.fitted.world
    rows = np.concatenate([world.mean[None], world.weights[None], world.axes])
    scores = np.array([known.score({CLS: token}) for token in tokens], np.float64)
    output = [each.name for each in size.outputs].index(CLS)
    score = DriftScore(output, rows.shape[1], DIRECTIONS, repr(THRESHOLD), repr(GARBAGE), DRIFT_WORLD, DRIFT_GOLDEN)
    return score, [Array.of(DRIFT_WORLD, rows), Array.of(DRIFT_GOLDEN, scores)]


def _enumerations(heads: Sequence[HeadFacts]) -> list[Enumeration]:
    named = [head for head in heads if head.classes]
    types = identifiers([type_name(head.name, "Class") for head in named], "Class")
    arrays = identifiers([f"{head.name}_classes" for head in named], "classes")
    return [
        Enumeration(head.name, spelt, array, tuple(identifiers(head.classes, "class")), head.classes)
        for head, spelt, array in zip(named, types, arrays, strict=True)
    ]


def _input_names(frames: Tensor) -> list[str]:
    """Of a package of Core ML: one input for each frame of a batch, as `edgec.lowering.coreml.metadata` has them."""
    count = frames.shape[0]
    return [frames.name] if count == 1 else [f"{frames.name}_{index}" for index in range(count)]


def _pin(manifest: Manifest, runtime: str) -> str:
    """The runtime's version when the artefact was built, as pip takes it; empty if the manifest does not say one."""
    version = manifest.tools.get(runtime, "").partition("-")[0]
    return f"=={version}" if re.fullmatch(r"[0-9]+(\.[0-9a-z]+)*", version) else ""
