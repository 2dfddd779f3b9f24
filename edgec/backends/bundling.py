"""device/bundle.json: what the program on a board needs to know about the artefact that it lies in.

`edgec_device/bundle.py` reads it there. Only the manifest is written later: bundle.json names every file that the board needs,
with its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import edgec
from edgec.artefact.bounds import head_bounds
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, VARIANTS, write_expected
from edgec.artefact.recording import run_golden
from edgec.artefact.tolerances import limits
from edgec.backends.base import Packing
from edgec.backends.candidate import Candidate
from edgec.backends.program import BUNDLE, BoardProgram
from edgec.durable import sha256_of
from edgec.fidelity.metrics import Features
from edgec.fidelity.reference import Reference
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.onboard.judging import GATES
from edgec.onboard.tasks import FEATURES, LABELS
from edgec.records.manifest import Golden, SizeFacts, Tensor, VariantFacts

SCHEMA_VERSION = 1


def write_bundle(
    packing: Packing,
    program: BoardProgram,
    boards: Sequence[Mapping[str, Any]],
    facts_of: Callable[[Candidate], Mapping[str, Any]],
    *,
    name_of: Callable[[Candidate], str] = lambda candidate: candidate.variant,
    more: Sequence[str] = (),
) -> tuple[VariantFacts, ...]:
    """Write the program and its bundle into `device/` of an artefact whose model and golden files are there, and what every
    variant computes of the golden frames next to those. `boards` are those that the artefact is for, `facts_of` what the family
    says of a variant, `name_of` what its boards call it; `more` are further files that boards need.

    Raises `RuntimeFailure` if a variant that was judged here cannot be run here.
    """
    directory = packing.directory
    golden = Reference(_arrays(directory, FRAMES)["frames"], _arrays(directory, EXPECTED_FLOAT32))
    # Of what only the target can run nothing is known, and no more is allowed to it than rounding.
    features = {
        name_of(variant): golden.features if variant.unjudged else _run(packing, variant, golden) for variant in packing.variants
    }
    entries = [
        {
            "name": name_of(variant),
            "path": packing.paths_of(variant)[0],
            "precision": variant.precision,
            **facts_of(variant),
            "bounds": {
                name: bound.as_document()
                for name, bound in head_bounds(
                    packing.outputs, variant.precision, golden.features, features[name_of(variant)]
                ).items()
            },
        }
        for variant in packing.variants
    ]
    write_document(packing, program, boards, entries, [EXPECTED_FLOAT32, *more])
    entry, *others = packing.variants
    expected = {name_of(entry): EXPECTED_SHIPPED}
    for variant in others:
        if variant.unjudged:
            continue
        expected[name_of(variant)] = f"{VARIANTS}/{name_of(variant)}.npz"
        write_expected(directory, expected[name_of(variant)], features[name_of(variant)])
    return tuple(_facts(packing, variant, expected.get(name_of(variant), "")) for variant in packing.variants)


def write_document(
    packing: Packing,
    program: BoardProgram,
    boards: Sequence[Mapping[str, Any]],
    variants: Sequence[Mapping[str, Any]],
    paths: Sequence[str],
    **more: Any,
) -> None:
    """Write the program, and a bundle.json with these `variants`. `paths` are the files that boards need besides the models, the
    golden frames and the program; `more` are members of the document that only some families have."""
    directory = packing.directory
    program.write(directory)
    models = [path for variant in packing.variants for path in packing.paths_of(variant)]
    document = {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": edgec.__version__,
        "name": safe_name(packing.name),
        "build_key": packing.build_key,
        "family": packing.profiles[0].family,
        "boards": list(boards),
        "input": tensor_fields(packing.input),
        "outputs": [tensor_fields(output) for output in packing.outputs],
        "variants": list(variants),
        "heads": [head.model_dump(mode="json") for head in packing.heads],
        "golden": golden_fields(packing.golden_count),
        "gate": dict.fromkeys(GATES, packing.budget.min_fidelity),
        "budget": packing.budget.said(),
        "model": packing.model.model_dump(mode="json"),
        "target": packing.target,
        "precision_asked": packing.precision_asked,
        "calibration": packing.calibration,
        **more,
        "files": [_file(directory, path) for path in dict.fromkeys([*models, FRAMES, *paths, program.path])],
    }
    (directory / BUNDLE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def golden_fields(count: int) -> dict[str, Any]:
    """The golden frames, whose outputs boards compare with float32's."""
    return {"frames": FRAMES, "expected": EXPECTED_FLOAT32, "count": count}


def recorded_fields(golden: Golden) -> dict[str, Any]:
    """The golden frames of a model that boards run as it is: heads' outputs are compared with what it computed here."""
    paths = {"frames": golden.frames, "expected": golden.expected_float32, "recorded": golden.expected_shipped}
    return {**paths, "count": golden.count}


def size_fields(size: SizeFacts) -> dict[str, Any]:
    """One of several sizes of frames."""
    return {
        "function": size.function,
        "input": tensor_fields(size.input),
        "outputs": [tensor_fields(output) for output in size.outputs],
        "golden": recorded_fields(size.golden),
    }


def recorded_bounds(outputs: Sequence[Tensor], precision: str) -> dict[str, dict[str, float]]:
    """How far heads' outputs may be from what was recorded of the same files, as `edgec verify` allows where kernels differ."""
    most = limits(precision)
    cosine = {"cosine": most.cosine, "difference": most.difference}
    heads = [output for output in outputs if output.role != FEATURES]
    return {output.name: {"agreement": most.labels} if output.role == LABELS else dict(cosine) for output in heads}


def _facts(packing: Packing, variant: Candidate, expected: str) -> VariantFacts:
    assert variant.model is not None
    return VariantFacts(
        precision=variant.precision,
        entry=packing.paths_of(variant)[0],
        expected=expected,
        runtime=variant.runtime,
        settings=variant.model.settings,
    )


def tensor_fields(tensor: Tensor) -> dict[str, Any]:
    """An input or output as bundle.json describes it."""
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "role": tensor.role}


def safe_name(text: str) -> str:
    """The text as a name that a folder can have on any file system."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".-+_")[:100] or "artefact"


def _arrays(directory: Path, path: str) -> Features:
    with np.load(directory / path, allow_pickle=False) as archive:
        return dict(archive)


def _file(directory: Path, path: str) -> Mapping[str, Any]:
    return {"path": path, "sha256": sha256_of(directory / path), "size_bytes": (directory / path).stat().st_size}


def _run(packing: Packing, variant: Candidate, golden: Reference) -> Features:
    assert variant.model is not None
    folder, model = packing.directory / packing.folders[variant.name], variant.model
    written = LoweredModel(model.runtime, folder, model.entry, model.files, model.settings)
    return run_golden(registry.get(model.runtime).load(written, threads=packing.threads), golden, packing.input.shape[0])
