"""What reading a checkpoint gives, whatever form it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgec.model.normalisation import Normalisation
from edgec.model.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["meta", "meta-training", "huggingface", "timm", "random"]


@dataclass(frozen=True)
class Licence:
    """`spdx` is an SPDX identifier or `LicenseRef-…`. `text`, and any attribution in `notice`, are copied into the artefact."""

    name: str
    spdx: str
    reason: str
    text: str = ""
    notice: str = ""


@dataclass(frozen=True)
class Finding:
    """Something odd that does not stop a build. `note` is for information, `warning` may explain a bad result."""

    level: Literal["note", "warning"]
    text: str


@dataclass(frozen=True)
class Checkpoint:
    """A backbone under edgec's own names.

    `weights` are float32 with the names and shapes of `edgec.model`'s unfolded modules, plus `rope_periods`
    [head_width / 4] for a ViT. `parameters` counts what the file holds for the backbone.
    """

    name: str
    spec: Spec
    weights: Mapping[str, Tensor]
    normalisation: Normalisation
    form: Form
    sha256: str
    licence: Licence
    stored_dtype: str
    pooling: str = ""
    """What the author's classifier reads: `token` is CLS, `avg` the mean of the patches, edgec has no others; empty if
    unknown."""
    classifier: Tensor | None = None
    """The weight [C, D] of the linear classifier in the same file; None if there is none."""
    statements: tuple[str, ...] = ()
    """A line for each statement, for people."""
    findings: tuple[Finding, ...] = ()

    @property
    def random_weights(self) -> bool:
        """Whether the weights are random numbers, so that features mean nothing."""
        return self.form == "random"
