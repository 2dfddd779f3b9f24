"""What device/bundle.json says of models for CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgec.backends.base import Packing
from edgec.backends.bundling import write_bundle
from edgec.backends.candidate import Candidate
from edgec.backends.cpu.profile import CpuProfile
from edgec.backends.profile import Profile
from edgec.backends.program import BoardProgram
from edgec.lowering import registry
from edgec.records.manifest import VariantFacts


def write_cpu_bundle(packing: Packing, program: BoardProgram) -> tuple[VariantFacts, ...]:
    """The program, bundle.json, and what each variant computes of the golden frames."""

    def facts_of(variant: Candidate) -> Mapping[str, Any]:
        assert variant.model is not None
        return {
            "others": packing.paths_of(variant)[1:],
            "runtime": variant.runtime,
            "version": registry.get(variant.runtime).availability().version,
            "settings": {name: str(value) for name, value in variant.model.settings.items()},
        }

    boards = [_board(profile) for profile in packing.profiles]
    return write_bundle(packing, program, boards, facts_of, name_of=lambda candidate: candidate.name)


def _board(profile: Profile) -> Mapping[str, Any]:
    assert isinstance(profile, CpuProfile)
    return {
        "profile": profile.name,
        "title": profile.title,
        "compatible": [],
        "architecture": profile.architecture,
        "isa": list(profile.isa),
    }
