"""What goes to a device with an artefact, `device/`, held against the artefact and against this edgec: the program, and the facts
that it is told.

A board believes its bundle.json and a Mac its mac.json. Both repeat what the manifest says, so that both can be compared with it;
what they alone say, gates and bounds, edgec bounds itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import edgec
from edgec.artefact.bounds import FEATURES, Arrays, head_bounds
from edgec.artefact.golden import EXPECTED_FLOAT32, FRAMES
from edgec.artefact.reading import OpenArtefact
from edgec.artefact.tolerances import LEAST_FIDELITY, LEAST_GATE, Allowed
from edgec.backends.program import BUNDLE, PROGRAM
from edgec.errors import ArtefactError
from edgec.fidelity.metrics import Features, compare
from edgec.onboard.judging import BUDGET, GATES
from edgec.onboard.tolerances import TOLERANCES
from edgec.records.evidence import Evidence
from edgec.records.manifest import Manifest, Tensor
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.untrusted import Refused, parse_json_object, read_bytes

_LIMIT_BYTES = 16 << 20
_SHOWN = 20
_SLACK = 1e-5
_REMEDY = "it was edited or damaged: build it again, or copy it again from where it is whole"


def check_program(artefact: OpenArtefact, path: str, own: bytes) -> tuple[str, ...]:
    """The program at `path`, if the artefact has one, must be this edgec's own, where one of this version wrote
    it; returned is a note where another one did, or an
    artefact is so old that it may have.

    Raises `ArtefactError`.
    """
    listed = {file.path for file in artefact.manifest.files}
    version = artefact.manifest.edgec_version
    if path not in listed:
        return ()
    if version != edgec.__version__ or artefact.manifest.execution is None:
        sent = f"; edgec deploy sends the one of this edgec, {edgec.__version__}" if path == PROGRAM else ""
        return (f"{path} is of edgec {printable(version)[:40]}, and nothing says whether it is that version's own{sent}.",)
    if (artefact.directory / path).read_bytes() != own:
        raise ArtefactError(
            f"The program for the device in {artefact.directory} is not the one of edgec {version}.",
            evidence=f"{path} has other content, though the manifest lists its hash",
            remedy="do not run it: build the artefact again",
        )
    return ()


def check_document(
    artefact: OpenArtefact, program: str, document: str, report: Report | None, least: float | None = None
) -> None:
    """What the program at `program` is told, `document`, if the artefact has one. `report` is the artefact's,
    whose budget a board is to be told. `least` is what a gate must be at least, by default what edgec allows.

    Raises `ArtefactError`.
    """
    listed = {file.path for file in artefact.manifest.files}
    if document in listed:
        _check_document(artefact, document, report, LEAST_GATE if least is None else least)
    elif program in listed:
        raise ArtefactError(f"{artefact.directory} has {program}, but no {document}.", remedy=_REMEDY)


def read_document(artefact: OpenArtefact, path: str) -> dict[str, Any]:
    """Raises `ArtefactError`."""
    try:
        return parse_json_object(read_bytes(artefact.directory / path, _LIMIT_BYTES))
    except (Refused, FileNotFoundError) as error:
        raise ArtefactError(f"{path} in {artefact.directory} cannot be used.", evidence=f"it {error}", remedy=_REMEDY) from error


def looser_bounds(document: Mapping[str, Any], precision: str, artefact: OpenArtefact, ran: Arrays, most: Allowed) -> list[str]:
    """In words: which bounds of bundle.json allow an engine of this precision more than twice what its graph loses here. `ran` is
    what the graph made of the golden frames, `most` how far that may be from what it made when the bundle was written."""
    golden, outputs = artefact.golden, artefact.manifest.outputs
    (said,) = (variant.get("bounds", {}) for variant in document["variants"] if variant["precision"] == precision)
    problems = []
    for name, bound in head_bounds(outputs, precision, golden.expected_float32, ran).items():
        # What may move by so much may lose so much more, twice over.
        slack = {
            "agreement": 2 * (1 - most.labels) + _SLACK,
            "cosine": 2 * (1 - most.cosine) + _SLACK,
            "difference": 2 * most.difference + _SLACK,
        }
        for what, value in bound.said().items():
            told = said[name].get(what)
            if told is None:
                problems.append(f"{precision}: {what} of {printable(name)} is not bounded")
                continue
            beyond = told - value if what == "difference" else value - told
            if beyond > slack[what]:
                problems.append(f"{precision}: {what} of {printable(name)} is bounded by {told:g}; by its own graph, {value:g}")
    return problems


def below_least(precision: str, artefact: OpenArtefact, ran: Features) -> list[str]:
    """In words: where a graph that a board may choose, and of which nothing was recorded, keeps less of the golden frames'
    features than edgec allows."""
    expected, least = artefact.golden.expected_float32, LEAST_FIDELITY[precision]
    if not {"cls", "patches"} <= expected.keys():
        return []
    found = compare(expected, ran, precision, Evidence.SIMULATED)
    means = {"cls_cosine_mean": found.cls_cosine_mean, "patch_cosine_mean": found.patch_cosine_mean}
    return [
        f"the {precision} graph has a {name} of {value:.6f} (at least {least:g})"
        for name, value in means.items()
        if value is not None and value < least
    ]


def _check_document(artefact: OpenArtefact, path: str, report: Report | None, least: float) -> None:
    said = read_document(artefact, path)
    try:
        problems = [*_gate(said, report, least), *_budget(said, report, artefact.manifest)]
        if path == BUNDLE:
            problems += _bundle(said, artefact.manifest, artefact.directory)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problems = [f"it does not say what it must: {type(error).__name__}, {printable(str(error))[:100]}"]
    if problems:
        raise ArtefactError(
            f"{path} in {artefact.directory} says something else than the artefact.", evidence=problems[:_SHOWN], remedy=_REMEDY
        )


def budget_of(report: Report) -> dict[str, float | None]:
    """Every bound that the user gave, as a document for a board says them."""
    return {name: getattr(report, name) for name in BUDGET}


def _budget(said: Mapping[str, Any], report: Report | None, manifest: Manifest) -> Iterator[str]:
    """An older edgec told boards nothing of what heads must keep."""
    if report is None or ("budget" not in said and manifest.edgec_version != edgec.__version__):
        return
    if said.get("budget") != budget_of(report):
        yield "its budget is not the one that the artefact was built to keep"


def _gate(said: Mapping[str, Any], report: Report | None, least: float) -> Iterator[str]:
    gate = {name: float(value) for name, value in said["gate"].items()}
    if set(gate) != set(GATES):
        yield f"its gate is of {printable(', '.join(gate))[:100]}"
    for name, value in gate.items():
        if report is not None and value != report.min_fidelity:
            yield f"its gate for {printable(name)} is {value:g}; the artefact was built to keep {report.min_fidelity:g}"
        if not least <= value <= 1:
            yield f"its gate for {printable(name)} is {value:g} (at least {least:g})"


def _bundle(said: Mapping[str, Any], manifest: Manifest, directory: Path) -> Iterator[str]:
    listed = {file.path: (file.sha256, file.size_bytes) for file in manifest.files}
    files = {file["path"]: (file["sha256"], file["size_bytes"]) for file in said["files"]}
    for path, facts in files.items():
        if listed.get(path) != facts:
            yield f"{printable(str(path))[:100]} has another hash or size than in the manifest"
    variants = {variant["precision"]: variant["path"] for variant in said["variants"]}
    if len(variants) != len(said["variants"]) or manifest.entry not in variants.values():
        yield "its variants are not those of the artefact"
    if manifest.execution is not None and variants != {each.precision: each.entry for each in manifest.variants}:
        yield "its variants are not those of the manifest"
    for path in (*variants.values(), FRAMES, EXPECTED_FLOAT32, PROGRAM):
        if path not in files:
            yield f"it does not list {printable(str(path))[:100]}"
    if said["golden"] != {"frames": FRAMES, "expected": EXPECTED_FLOAT32, "count": manifest.golden.count}:
        yield "it has other golden frames"
    expected = {
        "edgec_version": manifest.edgec_version,
        "build_key": manifest.build_key,
        "target": manifest.target,
        "input": _tensor(manifest.input),
        "outputs": [_tensor(output) for output in manifest.outputs],
        "heads": [head.model_dump(mode="json") for head in manifest.heads],
    }
    # What an older edgec left out, where there were no heads.
    told = {
        "heads": [],
        **said,
        "input": {"role": FEATURES, **said["input"]},
        "outputs": [{"role": FEATURES, **output} for output in said["outputs"]],
    }
    for name, value in expected.items():
        if told[name] != value:
            yield f"{name} is not the manifest's"
    heads = {output.name for output in manifest.outputs if output.role != FEATURES}
    for variant in said["variants"]:
        if variant["precision"] not in TOLERANCES:
            yield f"it has a graph in {printable(str(variant['precision']))[:40]}, which edgec does not know"
        bounds = variant.get("bounds", {})
        if set(bounds) != heads:
            yield f"its bounds of {printable(str(variant['precision']))[:40]} are not of the artefact's heads"
        numbers = [value for bound in bounds.values() for value in bound.values()]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers):
            yield f"a bound of {printable(str(variant['precision']))[:40]} is no number"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "role": tensor.role}
