"""Engines for an artefact, and the bundle.json that names them.

Without NVIDIA's compiler there are none: the machine then compiles the graphs itself, as it does if it has another version of
TensorRT-RTX than the one that compiled here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from edgec.backends.base import Packing
from edgec.backends.bundling import write_bundle
from edgec.backends.candidate import Candidate
from edgec.backends.jetson.packing import graph_facts
from edgec.backends.rtx.profile import RtxProfile, as_generations
from edgec.backends.rtx.program import rtx_program
from edgec.lowering.tensorrt.compiler.compiling import compile_engine
from edgec.lowering.tensorrt.compiler.machines import availability
from edgec.lowering.tensorrt.lowering import has_types
from edgec.records.manifest import VariantFacts

_TENSORRT = {"min": "10.1", "below": "12"}
"""For machines that have TensorRT instead of TensorRT-RTX, which has numbers of its own: strongly typed, opset 19 included."""
_NOT_COMPILED = ("fp32",)
"""The last resort, which takes twice the room of all others together: the machine compiles it if it comes to that."""


def write_engines_and_bundle(packing: Packing) -> tuple[VariantFacts, ...]:
    """One engine of each variant for all of the artefact's generations, beside the variant's graph; then the program, and what it
    needs to know.

    Raises `RuntimeFailure` if a variant cannot be run here, or is refused by the compiler.
    """
    generations = as_generations(packing.profiles)
    engines: dict[str, Mapping[str, Any]] = {}
    if availability().available:
        for variant in packing.variants:
            able = [each for each in generations if has_types(variant.variant, each.rtx.compute_capability)]
            if variant.precision in _NOT_COMPILED or not able:
                continue
            sms = tuple(dict.fromkeys(generation.rtx.sm for generation in able))
            graph = packing.paths_of(variant)[0]
            path = PurePosixPath(graph).with_suffix(".engine")
            version = compile_engine(packing.directory / graph, sms, packing.directory / path)
            capabilities = list(dict.fromkeys(generation.rtx.compute_capability for generation in able))
            engines[variant.variant] = {"path": str(path), "version": version, "compute_capabilities": capabilities}

    def facts_of(variant: Candidate) -> Mapping[str, Any]:
        compiled = engines.get(variant.variant)
        return {**graph_facts(variant), **({} if compiled is None else {"engine": compiled})}

    paths = [str(engine["path"]) for engine in engines.values()]
    return write_bundle(packing, rtx_program(), [_generation(each) for each in generations], facts_of, more=paths)


def _generation(profile: RtxProfile) -> Mapping[str, Any]:
    return {
        "profile": profile.name,
        "title": profile.title,
        "compatible": [],
        "compute_capability": profile.rtx.compute_capability,
        "jetpack": [],
        "tensorrt": _TENSORRT,
    }
