"""What `edgec inspect` shows of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgec.checkpoint.types import Checkpoint, Finding
from edgec.model.normalisation import Normalisation
from edgec.model.spec import Size, check_size, describe, family_name, gflops, grid, parameters, tokens
from edgec.text import counted, shown


@dataclass(frozen=True)
class Inspection:
    """`architecture` is the family's name, or "of its own". Parameters and GFLOPs (two a multiply-accumulate) are calculated from
    the dimensions; `tokens` are CLS, registers and patches together."""

    name: str
    architecture: str
    kind: str
    dimensions: str
    parameters: int
    input_size: str
    grid: tuple[int, int]
    tokens: int
    gflops: float
    registers: int
    features: int
    normalisation: Normalisation
    form: str
    random_weights: bool
    sha256: str
    licence: dict[str, str]
    stored_dtype: str
    statements: tuple[str, ...]
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """All fields, ready for `json.dumps`."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Label and text, a line each, for people."""
        rows, columns = self.grid
        registers = counted(self.registers, "register") if self.registers else "no registers"
        normalisation = self.normalisation
        figures = f"mean {_triple(normalisation.mean)}, std {_triple(normalisation.std)}"
        spdx = "" if self.licence["spdx"] in ("NOASSERTION", "NONE") else f" ({self.licence['spdx']})"
        return [
            ("checkpoint", shown(self.name)),
            ("architecture", f"{self.architecture} ({self.kind}): {self.dimensions}"),
            ("parameters", f"{self.parameters / 1e6:.1f} M ({self.parameters:,})"),
            ("features", f"{self.features} channels; {registers}"),
            (f"at {self.input_size}", f"{self.tokens:,} tokens, patches {rows}x{columns}, {self.gflops:.1f} GFLOPs"),
            ("normalisation", f"{normalisation.name}: {figures}"),
            ("", normalisation.reason),
            ("form", self.form),
            ("stored as", self.stored_dtype),
            ("sha-256", self.sha256),
            ("licence", f"{self.licence['name']}{spdx}: {self.licence['reason']}"),
            *(("stated" if not number else "", line) for number, line in enumerate(self.statements)),
            *((finding.level, finding.text) for finding in self.findings),
        ]


def inspect(checkpoint: Checkpoint, size: Size) -> Inspection:
    """The facts about a checkpoint for frames of one size. Raises `InputSizeError` if the model cannot take that size."""
    spec = checkpoint.spec
    check_size(spec, size)
    return Inspection(
        name=checkpoint.name,
        architecture=family_name(spec) or "of its own",
        kind=spec.kind,
        dimensions=describe(spec),
        parameters=parameters(spec),
        input_size=str(size),
        grid=grid(spec, size),
        tokens=tokens(spec, size),
        gflops=gflops(spec, size),
        registers=spec.registers,
        features=spec.features,
        normalisation=checkpoint.normalisation,
        form=checkpoint.form,
        random_weights=checkpoint.random_weights,
        sha256=checkpoint.sha256,
        licence={key: getattr(checkpoint.licence, key) for key in ("name", "spdx", "reason", "notice")},
        stored_dtype=checkpoint.stored_dtype,
        statements=checkpoint.statements,
        findings=checkpoint.findings,
    )


def _triple(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
