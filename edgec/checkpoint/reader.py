"""`read`: from a reference to a `Checkpoint`, whatever form it is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from edgec.checkpoint.config import Config, read_json
from edgec.checkpoint.convnext import read_convnext
from edgec.checkpoint.forms import Recognised, recognise
from edgec.checkpoint.licence import RANDOM, licence
from edgec.checkpoint.normalisation import normalisation
from edgec.checkpoint.published import check_hashed_name, published
from edgec.checkpoint.random import PREFIX, architecture, random_weights
from edgec.checkpoint.source import identify, locate
from edgec.checkpoint.text import counted, listed
from edgec.checkpoint.types import LVD, Checkpoint, Finding, Form, Normalisation
from edgec.checkpoint.vit import read_vit
from edgec.checkpoint.weights import Backbone, Shelf
from edgec.model.spec import FAMILY, VitSpec

_LOCAL_NORM = "local_cls_norm."
_HEADS = ("head.", "fc.", "fc_norm.", "classifier.", "attn_pool.", "projectors.", "head_drop.")


def read(reference: str, *, seed: int = 0) -> Checkpoint:
    """Reads `demo`, `random:ARCH`, a file of weights, or a directory. `seed` is for `random:ARCH` only.

    Weights come out in float32, checked for shape and finiteness. Whatever is odd and harmless is among the findings.
    Raises a `CheckpointError`; `RequestError` for an unknown ARCH.
    """
    if reference.startswith(PREFIX):
        return _random(reference, seed)
    from edgec.checkpoint.files import load

    source, identity = locate(reference), identify(reference)
    config = Config.read(source.config)
    tensors = load(source.weights)
    found = recognise(tensors)
    findings: list[Finding] = []
    shelf = Shelf({name: tensors[full] for name, full in found.names.items()}, found.names)
    del tensors
    local_cls_norm = any(name.startswith(_LOCAL_NORM) for name in found.names)
    reader = read_vit if found.layout.family == "vit" else read_convnext
    backbone = reader(found, shelf, config, findings)
    findings += _oddities(found, backbone)
    origin = published(identity.sha256) if not source.folder else None
    if not source.folder:
        mismatch = check_hashed_name(source.path.name, identity.sha256)
        findings += [mismatch] if mismatch else []
    preprocessor = None if source.preprocessor is None else read_json(source.preprocessor)
    return Checkpoint(
        name=source.name,
        spec=backbone.spec,
        weights=backbone.weights,
        normalisation=normalisation(preprocessor, config.values, source.labels, origin, local_cls_norm, findings),
        form=_form(found),
        sha256=identity.sha256,
        licence=licence(source.labels, config.values, source.beside, origin, findings),
        stored_dtype=backbone.stored_dtype,
        findings=tuple(findings),
    )


def _random(reference: str, seed: int) -> Checkpoint:
    spec = FAMILY[architecture(reference)]
    return Checkpoint(
        name=reference,
        spec=spec,
        weights=random_weights(spec, seed),
        normalisation=Normalisation(*LVD, "LVD-1689M", "random weights: any would do"),
        form="random",
        sha256=identify(reference, seed=seed).sha256,
        licence=RANDOM,
        stored_dtype="float32",
        findings=(Finding("warning", "random weights: latency is real, features mean nothing"),),
    )


def _form(found: Recognised) -> Form:
    """Meta's training code leaves its backbone under a prefix; its published files have none."""
    return "meta-training" if found.layout.form == "meta" and found.prefix else found.layout.form


def _oddities(found: Recognised, backbone: Backbone) -> list[Finding]:
    """What is worth knowing of the names and types, though it stops nothing."""
    findings = []
    if backbone.stored_dtype != "float32":
        findings.append(Finding("note", f"stored in {backbone.stored_dtype}; computed in float32"))
    if found.prefix:
        findings.append(Finding("note", f"the backbone is under {found.prefix}"))
        if _form(found) == "meta-training" and isinstance(backbone.spec, VitSpec):
            # The published backbones have layernormbf16; the training code's default, layernorm, is the other one.
            findings.append(
                Finding("note", f"norm epsilon {backbone.spec.norm_eps:g} assumed; training with norm_layer layernorm has 1e-06")
            )
    if found.others:
        findings.append(Finding("note", f"further backbones passed over: {listed(other or '(top)' for other in found.others)}"))
    outside = [name for name in found.outside if not any(name.startswith(other) for other in found.others if other)]
    if outside:
        findings.append(Finding("note", f"not of the backbone, passed over: {_groups(outside)}"))
    if backbone.assumed:
        findings.append(
            Finding("note", f"not stored, taken as neutral (bias 0, LayerScale 1): {listed(_patterns(backbone.assumed))}")
        )
    local = [name for name in backbone.left if name.startswith(_LOCAL_NORM)]
    heads = [name for name in backbone.left if name.startswith(_HEADS)]
    if local:
        findings.append(Finding("note", "local_cls_norm is of training only and passed over"))
    if heads:
        findings.append(Finding("note", f"heads passed over: {listed(heads)}"))
    unknown = [name for name in backbone.left if name not in local and name not in heads]
    if unknown:
        findings.append(Finding("warning", f"{counted(len(unknown), 'unexpected tensor')} passed over: {listed(unknown)}"))
    return findings


def _groups(names: Collection[str]) -> str:
    """`dino_head (6), ibot_head (6)`: what the names begin with, and how many do."""
    counts = Counter(name.split(".")[0] if name.count(".") < 3 else ".".join(name.split(".")[:2]) for name in names)
    return listed(f"{group} ({count})" for group, count in counts.most_common())


def _patterns(names: Collection[str]) -> list[str]:
    """Names with block numbers replaced by N, each once."""
    return list(dict.fromkeys(".".join("N" if part.isdigit() else part for part in name.split(".")) for name in names))
