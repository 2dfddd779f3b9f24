"""bundle.json compared with the manifest, and with what the artefact's models compute here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edgec.artefact.bounds import FEATURES, Arrays, head_bounds
from edgec.artefact.checking import check_outputs, rerun
from edgec.artefact.golden import EXPECTED_FLOAT32, FRAMES
from edgec.artefact.reading import OpenArtefact
from edgec.artefact.tolerances import LEAST_FIDELITY, Allowed, allowed, limits
from edgec.backends.base import VariantChecks
from edgec.backends.bundling import golden_fields, recorded_bounds, recorded_fields, size_fields, tensor_fields
from edgec.backends.checking import check_document, read_document
from edgec.backends.program import BUNDLE, BoardProgram
from edgec.fidelity.metrics import Features, compare
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel, Lowering
from edgec.onboard.tolerances import TOLERANCES
from edgec.records.evidence import Evidence
from edgec.records.manifest import Manifest
from edgec.records.reading import printable
from edgec.records.report import Report

_SLACK = 1e-5


def check_bundle(artefact: OpenArtefact, report: Report | None, least: float | None = None, *, program: BoardProgram) -> None:
    """bundle.json must say what the manifest and `report` say. `least` is the lowest gate that is allowed, by default edgec's;
    `program` is what it is for.

    Raises `ArtefactError`.
    """
    check_document(artefact, program.path, BUNDLE, report, least, compare=partial(_contradictions, program))


def check_variants(artefact: OpenArtefact, entry_features: Features, threads: int, *, same: bool) -> VariantChecks:
    """As `edgec.backends.base.Backend.check_variants`. A graph with nothing recorded is compared with float32."""
    size, manifest = artefact.sizes[0], artefact.manifest
    document = read_document(artefact, BUNDLE)
    recorded = {variant.facts.entry: variant for variant in artefact.variants}
    checks = VariantChecks()
    for variant in document["variants"]:
        name, precision, entry = variant["name"], variant["precision"], variant["path"]
        is_entry = entry == manifest.entry
        plain = LoweredModel(manifest.runtime, artefact.directory, entry, (entry,))
        model = recorded[entry].lowered if entry in recorded else plain
        lowering = registry.get(model.runtime)
        expected = recorded[entry].expected if entry in recorded else None
        if entry in recorded and expected is None:
            problem = _unjudged(variant, lowering)
            checks.notes += [] if problem else [f"{printable(name)} was not run: only the target judges it."]
            checks.loose += problem or _looser_bounds(variant, artefact, artefact.golden.expected_float32, limits(precision))
            continue
        if is_entry:
            actual = entry_features
        elif not lowering.runnable().available:
            checks.notes.append(f"{printable(name)} was not run: {lowering.title} is not available here.")
            continue
        else:
            actual = rerun(lowering.load(model, threads=threads), size)
        # Of other runtimes' versions nothing is recorded.
        most = allowed(precision, same=same and model.runtime == manifest.runtime)
        if expected is not None:
            results = check_outputs(size, actual, expected, most, variant=name)
            checks.outputs += [check for check in results if not (is_entry and check.passed)]
        else:
            checks.loose += _below_least(precision, artefact, actual)
        checks.loose += _looser_bounds(variant, artefact, actual, most)
    return checks


def _unjudged(variant: Mapping[str, Any], lowering: Lowering) -> list[str]:
    """Why a variant of which nothing was recorded must not be left to the target, a sentence; empty if it may be."""
    if variant["precision"] in lowering.elsewhere:
        return []
    return [f"nothing is recorded of {printable(variant['name'])}, though any machine with {lowering.title} can run it"]


def _looser_bounds(variant: Mapping[str, Any], artefact: OpenArtefact, actual: Arrays, most: Allowed) -> list[str]:
    """Which bounds of a variant in bundle.json allow its engine more than twice what its graph loses here, a sentence each.
    `actual` is what the graph computed of the golden frames, `most` how far that may be from what was recorded."""
    golden, outputs = artefact.golden, artefact.manifest.outputs
    stated, title = variant.get("bounds", {}), printable(variant["name"])
    problems = []
    for name, bound in head_bounds(outputs, variant["precision"], golden.expected_float32, actual).items():
        # If the features may move by this much, a bound made from them may move by twice as much.
        slack = {
            "agreement": 2 * (1 - most.labels) + _SLACK,
            "cosine": 2 * (1 - most.cosine) + _SLACK,
            "difference": 2 * most.difference + _SLACK,
        }
        for kind, value in bound.as_document().items():
            limit = stated[name].get(kind)
            if limit is None:
                problems.append(f"{title}: {kind} of {printable(name)} is not bounded")
                continue
            beyond = limit - value if kind == "difference" else value - limit
            if beyond > slack[kind]:
                problems.append(f"{title}: {kind} of {printable(name)} is bounded by {limit:g}; by its own graph, {value:g}")
    return problems


def _below_least(precision: str, artefact: OpenArtefact, actual: Features) -> list[str]:
    """Where a graph that a board may choose, and that has nothing recorded, keeps less of the golden frames' features than edgec
    allows, a sentence each."""
    expected, least = artefact.golden.expected_float32, LEAST_FIDELITY[precision]
    if not {"cls", "patches"} <= expected.keys():
        return []
    fidelity = compare(expected, actual, precision, Evidence.SIMULATED)
    means = {"cls_cosine_mean": fidelity.cls_cosine_mean, "patch_cosine_mean": fidelity.patch_cosine_mean}
    return [
        f"the {precision} graph has a {name} of {value:.6f} (at least {least:g})"
        for name, value in means.items()
        if value is not None and value < least
    ]


def _contradictions(program: BoardProgram, document: Mapping[str, Any], manifest: Manifest, directory: Path) -> Iterator[str]:
    listed = {file.path: (file.sha256, file.size_bytes) for file in manifest.files}
    files = {file["path"]: (file["sha256"], file["size_bytes"]) for file in document["files"]}
    for path, facts in files.items():
        if listed.get(path) != facts:
            yield f"{printable(str(path))[:100]} has another hash or size than in the manifest"
    variants = {variant["name"]: variant["path"] for variant in document["variants"]}
    stated = {(variant["precision"], variant["path"]) for variant in document["variants"]}
    if len(variants) != len(document["variants"]) or manifest.entry not in variants.values():
        yield "its variants are not those of the artefact"
    listed_variants = {(variant.precision, variant.entry) for variant in manifest.variants}
    # Where a board cannot choose another file, the entry is all there is.
    if manifest.execution is not None and stated != (listed_variants or {(manifest.precision, manifest.entry)}):
        yield "its variants are not those of the manifest"
    engines = [variant["engine"]["path"] for variant in document["variants"] if "engine" in variant]
    size_paths = [path for size in manifest.all_sizes for path in size.golden.paths] if program.recorded else []
    for path in (*variants.values(), *engines, FRAMES, EXPECTED_FLOAT32, program.path, *size_paths):
        if path not in files:
            yield f"it does not list {printable(str(path))[:100]}"
    if document["golden"] != (recorded_fields(manifest.golden) if program.recorded else golden_fields(manifest.golden.count)):
        yield "it has other golden frames"
    if document.get("sizes", []) != [size_fields(size) for size in manifest.sizes if program.recorded]:
        yield "it has other sizes of frames"
    expected = {
        "edgec_version": manifest.edgec_version,
        "build_key": manifest.build_key,
        "target": manifest.target,
        "input": tensor_fields(manifest.input),
        "outputs": [tensor_fields(output) for output in manifest.outputs],
        "heads": [head.model_dump(mode="json") for head in manifest.heads],
    }
    # An older edgec left these out where there were no heads.
    complete = {
        "heads": [],
        **document,
        "input": {"role": FEATURES, **document["input"]},
        "outputs": [{"role": FEATURES, **output} for output in document["outputs"]],
    }
    for name, value in expected.items():
        if complete[name] != value:
            yield f"{name} is not the manifest's"
    heads = {output.name for output in manifest.outputs if output.role != FEATURES}
    for variant in document["variants"]:
        precision = printable(str(variant["precision"]))[:40]
        if variant["precision"] not in TOLERANCES:
            yield f"it has a graph in {precision}, which edgec does not know"
        bounds = variant.get("bounds", {})
        if set(bounds) != heads:
            yield f"its bounds of {precision} are not for the artefact's heads"
        elif program.recorded and bounds != recorded_bounds(manifest.outputs, manifest.precision):
            yield f"its bounds of {precision} are not edgec's"
        numbers = [value for bound in bounds.values() for value in bound.values()]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers):
            yield f"a bound of {precision} is not a number"
