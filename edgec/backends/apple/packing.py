"""What device/bundle.json says of a Core ML package: a variant for each setting of compute units that Core ML has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgec.backends.apple.profile import FIRST_OS, AppleProfile, as_chips
from edgec.backends.base import Packing
from edgec.backends.bundling import recorded_bounds, recorded_fields, size_fields, write_document
from edgec.backends.program import BoardProgram
from edgec.lowering import registry

UNITS = ("cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all")
"""As Swift names them (MLComputeUnits). A Mac leaves out those that its chip has not."""
_NEEDED = ("numpy", "pillow")
"""Packages that coremltools' `predict` is called with, in whatever version fits the Mac's Python."""


def write_mac_bundle(packing: Packing, program: BoardProgram) -> None:
    """The program and bundle.json, in an artefact for Apple's chips that is in the making."""
    paths = [path for size in packing.sizes for path in size.golden.paths]
    boards = [_board(chip) for chip in as_chips(packing.profiles)]
    more: dict[str, Any] = {"golden": recorded_fields(packing.sizes[0].golden), "least_macos": FIRST_OS["macos"]}
    if len(packing.sizes) > 1:
        more["sizes"] = [size_fields(size) for size in packing.sizes]
    write_document(packing, program, boards, list(_variants(packing)), paths, **more)


def _variants(packing: Packing) -> Iterator[Mapping[str, Any]]:
    for variant in packing.variants:
        first, *others = packing.paths_of(variant)
        version = registry.get(variant.runtime).availability().version.removeprefix("coremltools ")
        for units in UNITS:
            yield {
                "name": f"{variant.variant}-{units}",
                "path": first,
                "others": others,
                "precision": variant.precision,
                "runtime": variant.runtime,
                "version": version,
                "packages": [f"coremltools=={version}", *_NEEDED],
                "settings": {"units": units},
                "bounds": recorded_bounds(packing.outputs, variant.precision),
            }


def _board(chip: AppleProfile) -> Mapping[str, Any]:
    return {
        "profile": chip.name,
        "title": chip.title,
        "compatible": [],
        "examples": chip.examples,
        "macos": chip.apple.minimum_os.get("macos", ""),
        "compute_units": list(chip.apple.compute_units),
    }
