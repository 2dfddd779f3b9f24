"""`read`: from a reference to a `Checkpoint`, whatever form it is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.checkpoint.layouts.choosing import choose
from edgec.checkpoint.layouts.forms import Recognised, recognise
from edgec.checkpoint.location.adjacent import KNOWN_CONFIGS, NO_CONFIG, check_adapter, config_path
from edgec.checkpoint.location.source import Source, identify, locate
from edgec.checkpoint.provenance.licence import RANDOM, licence
from edgec.checkpoint.provenance.normalisation import normalisation
from edgec.checkpoint.provenance.published import check_hashed_name, published
from edgec.checkpoint.statements import Origin, Statements, gather
from edgec.checkpoint.statements.pixels import from_tensors
from edgec.checkpoint.types import Checkpoint, Finding, Form
from edgec.checkpoint.weights.backbone import Backbone
from edgec.checkpoint.weights.convnext import read_convnext
from edgec.checkpoint.weights.random import PREFIX, architecture, random_weights
from edgec.checkpoint.weights.shelf import Shelf
from edgec.checkpoint.weights.vit import read_vit
from edgec.errors import AmbiguousCheckpoint
from edgec.extras import require
from edgec.model.normalisation import LVD, Normalisation
from edgec.model.spec import FAMILY, VitSpec
from edgec.text import counted, listed, shown

if TYPE_CHECKING:
    from torch import Tensor

_LOCAL_NORM = "local_cls_norm."
_ABOVE = ("", "model.", "module.", "state_dict.", "model.model.")
_HEADS = ("head.", "fc.", "fc_norm.", "classifier.", "attn_pool.", "projectors.", "head_drop.")


def read(reference: str, *, seed: int = 0, weights: str | None = None, config: str | None = None) -> Checkpoint:
    """Reads `demo`, `random:ARCH`, a file of weights, or a directory. `seed` is for `random:ARCH` only.

    `weights` names one of several sets of weights in a file ("student", "ema", …). `config` is a file whose statements replace
    all others, or "none" for no statements at all. Weights are float32, checked for shape and finiteness. What is odd and
    harmless is in `findings`.

    Raises a `CheckpointError`, such as `AmbiguousCheckpoint` if weights or statements contradict each other; `RequestError` for
    an unknown ARCH.
    """
    require("build", "Reading a checkpoint's weights")
    if reference.startswith(PREFIX):
        return _random(reference, seed)
    from edgec.checkpoint.containers.files import load

    source = locate(reference)
    identity = identify(reference, config=config)
    check_adapter(source.weights[0].parent, weights)
    contents = load(source.weights)
    tensors = contents.tensors
    findings: list[Finding] = []
    backbones = recognise(tensors)
    chosen = choose(backbones, tensors, weights, findings)
    statements = gather(_origin(source, contents.statements, config))
    for copy in source.copies:
        _check_copy(copy, source, {name: tensors[full] for name, full in chosen.names.items()})
    others = [part for each in backbones if not _same_shapes(each, chosen, tensors) for part in each.components]
    statements = statements.only(chosen.components, [part for part in others if part not in chosen.components])
    used = from_tensors(tensors, source.weights[0].name, statements) if config is None else set()
    classifier = _classifier(chosen, tensors)
    shelf = Shelf({name: tensors[full] for name, full in chosen.names.items() if full not in used}, chosen.names)
    del tensors, contents
    local_cls_norm = any(name.startswith(_LOCAL_NORM) for name in chosen.names)
    reader = read_vit if chosen.layout.family == "vit" else read_convnext
    backbone = reader(chosen, shelf, statements, findings)
    findings += _oddities(chosen, backbones, backbone, statements)
    origin = published(identity.sha256) if not source.folder else None
    if not source.folder:
        mismatch = check_hashed_name(source.path.name, identity.sha256)
        findings += [mismatch] if mismatch else []
    pooling = statements.one("pooling")
    return Checkpoint(
        name=source.name,
        spec=backbone.spec,
        weights=backbone.weights,
        normalisation=normalisation(
            statements, source.labels, origin, local_cls_norm, findings, chosen=config is not None and config != NO_CONFIG
        ),
        form=_form(chosen),
        sha256=identity.sha256,
        licence=licence(source.labels, statements, source.licences, origin, findings),
        stored_dtype=backbone.stored_dtype,
        pooling="" if pooling is None else str(pooling.value),
        classifier=classifier,
        statements=tuple(statements.rows()),
        findings=tuple(findings),
    )


def _same_shapes(one: Recognised, other: Recognised, tensors: Mapping[str, Tensor]) -> bool:
    """Whether two backbones have the same architecture, like a student and its average: statements about one hold for the
    other."""
    if one.layout is not other.layout or one.names.keys() != other.names.keys():
        return False
    return all(tensors[one.names[name]].shape == tensors[other.names[name]].shape for name in one.names)


def _check_copy(copy: Path, source: Source, tensors: Mapping[str, Tensor]) -> None:
    """Raises `AmbiguousCheckpoint` if a file that should hold the same weights holds others."""
    import torch

    from edgec.checkpoint.containers.files import load

    stored = load([copy]).tensors
    first, *_ = recognise(stored)
    other = {name: stored[full] for name, full in first.names.items()}
    differing = [name for name in tensors if name not in other or not torch.equal(tensors[name], other[name])]
    if differing:
        raise AmbiguousCheckpoint(
            f"{shown(source.path)} holds two sets of weights that differ.",
            evidence=f"{shown(source.weights[0].name)} and {shown(copy.name)} differ in {listed(differing)}",
            remedy="name the file that is meant, or remove the other",
        )


def _classifier(chosen: Recognised, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The weight of the first tensor that is named like a classifier's, next to the backbone's or above them; None if there is
    none."""
    import torch

    for name in ("head.weight", "head.fc.weight", "classifier.weight", "fc.weight"):
        for full in (chosen.names.get(name), *(outside for outside in chosen.outside if outside.rpartition(name)[0] in _ABOVE)):
            tensor = None if full is None or not full.endswith(name) else tensors[full]
            if tensor is not None and tensor.device.type == "cpu" and tensor.ndim == 2 and tensor.is_floating_point():
                return tensor.to(torch.float32, copy=True)
    return None


def _origin(source: Source, container: Mapping[str, Any], config: str | None) -> Origin:
    if config is None:
        folder = source.weights[0].absolute().parent
        return Origin(source.configs, container, source.weights[0].name, folder, KNOWN_CONFIGS)
    path = None if config == NO_CONFIG else config_path(config)
    return Origin() if path is None else Origin((path,), known=(path.name,), chosen=True)


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


def _form(chosen: Recognised) -> Form:
    """Meta's training code saves its backbone under a prefix; its published files have none."""
    return "meta-training" if chosen.layout.form == "meta" and chosen.prefix else chosen.layout.form


def _oddities(chosen: Recognised, backbones: Sequence[Recognised], backbone: Backbone, statements: Statements) -> list[Finding]:
    """What is worth knowing about names, types and files, though it does not stop a build."""
    findings = []
    if backbone.stored_dtype != "float32":
        findings.append(Finding("note", f"stored in {backbone.stored_dtype}; computed in float32"))
    if statements.unreadable:
        findings.append(Finding("warning", f"not readable and ignored: {listed(statements.unreadable)}"))
    if statements.unread:
        findings.append(Finding("warning", f"stated and not read by the author's code either: {listed(statements.unread)}"))
    if chosen.prefix:
        findings.append(Finding("note", f"the backbone is under {chosen.prefix}"))
        if _form(chosen) == "meta-training" and isinstance(backbone.spec, VitSpec) and not statements.about("norm_eps"):
            # The published backbones have layernormbf16; the training code's default, layernorm, is the other one.
            findings.append(
                Finding("note", f"norm epsilon {backbone.spec.norm_eps:g} assumed; training with norm_layer layernorm has 1e-06")
            )
    others = {full for each in backbones if each is not chosen for full in each.names.values()}
    outside = [name for name in chosen.outside if name not in others]
    if outside:
        findings.append(Finding("note", f"not of the backbone, ignored: {_groups(outside)}"))
    if backbone.assumed:
        findings.append(
            Finding("note", f"not stored, taken as neutral (bias 0, LayerScale 1): {listed(_patterns(backbone.assumed))}")
        )
    local = [name for name in backbone.unknown if name.startswith(_LOCAL_NORM)]
    heads = [name for name in backbone.unknown if name.startswith(_HEADS)]
    if local:
        findings.append(Finding("note", "local_cls_norm is for training only and ignored"))
    if heads:
        findings.append(Finding("note", f"heads ignored: {listed(heads)}"))
    unknown = [name for name in backbone.unknown if name not in local and name not in heads]
    if unknown:
        findings.append(Finding("warning", f"{counted(len(unknown), 'unexpected tensor')} ignored: {listed(unknown)}"))
    return findings


def _groups(names: Collection[str]) -> str:
    """`dino_head (6), ibot_head (6)`: the beginnings of the names, and how many have them."""
    counts = Counter(name.split(".")[0] if name.count(".") < 3 else ".".join(name.split(".")[:2]) for name in names)
    return listed(f"{group} ({count})" for group, count in counts.most_common())


def _patterns(names: Collection[str]) -> list[str]:
    """Names with block numbers replaced by N, each once."""
    return list(dict.fromkeys(".".join("N" if part.isdigit() else part for part in name.split(".")) for name in names))
