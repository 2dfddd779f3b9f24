"""How pixels are normalised, and why so: the one thing that decides features and is in no weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgec.checkpoint.published import Published
from edgec.checkpoint.text import shown
from edgec.checkpoint.types import LVD, SAT, Finding, Normalisation
from edgec.errors import UnreadableCheckpoint

Triple = tuple[float, float, float]
_SETS = {"lvd1689m": ("LVD-1689M", LVD), "sat493m": ("SAT-493M", SAT)}


def normalisation(
    preprocessor: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    labels: tuple[str, ...],
    published: Published | None,
    local_cls_norm: bool,
    findings: list[Finding],
) -> Normalisation:
    """The most telling evidence wins: a preprocessor's file, then the published file's own hash, then names, then the rule.

    `labels` are names, most telling first. Adds a warning where two pieces of evidence contradict each other.
    Raises `UnreadableCheckpoint` if a preprocessor's figures are unusable.
    """
    told = _from_preprocessor(preprocessor, findings) or _from_timm(config)
    hints = _hints(labels, config, published, local_cls_norm)
    chosen = told or (hints[0] if hints else None)
    if chosen is None:
        return Normalisation(*LVD, "LVD-1689M", "assumed, nothing says otherwise")
    for hint in hints:
        if (hint.mean, hint.std) != (chosen.mean, chosen.std):
            findings.append(
                Finding("warning", f"normalisation: {chosen.reason} ({chosen.name}), but {hint.reason} ({hint.name})")
            )
    return chosen


def _hints(
    labels: tuple[str, ...], config: Mapping[str, Any], published: Published | None, local_cls_norm: bool
) -> list[Normalisation]:
    hints = []
    if published is not None:
        hints.append(_known(published.trained_on, f"its SHA-256 is that of Meta's {published.name}"))
    named = [(label, "the name") for label in labels]
    named += [(str(config.get(key, "")), f"{key} in config.json") for key in ("_name_or_path", "architecture", "tag")]
    for label, where in named:
        key = next((key for key in _SETS if key in label.lower().replace("-", "").replace("_", "")), None)
        if key:
            hints.append(_known(key, f"{where} {shown(label, 80)} says {key}"))
            break
    if local_cls_norm and not hints:
        hints.append(_known("sat493m", "it has a local_cls_norm, as the SAT-493M backbone has"))
    return hints


def _known(key: str, reason: str) -> Normalisation:
    name, (mean, std) = _SETS[key]
    return Normalisation(mean, std, name, reason)


def _from_preprocessor(values: Mapping[str, Any] | None, findings: list[Finding]) -> Normalisation | None:
    if values is None:
        return None
    where = "preprocessor_config.json"
    if values.get("do_normalize") is False:
        return Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "none", f"{where} says do_normalize false")
    scale = values.get("rescale_factor", 1 / 255)
    if values.get("do_rescale") is False or not isinstance(scale, (int, float)) or abs(scale * 255 - 1) > 1e-3:
        findings.append(Finding("warning", f"{where} does not scale pixels by 1/255; edgec does"))
    if "image_mean" not in values and "image_std" not in values:
        return None
    return _named(_triple(values, "image_mean", where), _triple(values, "image_std", where), f"{where} says so")


def _from_timm(config: Mapping[str, Any]) -> Normalisation | None:
    values = config.get("pretrained_cfg")
    if not isinstance(values, dict) or "mean" not in values or "std" not in values:
        return None
    where = "pretrained_cfg in config.json"
    return _named(_triple(values, "mean", where), _triple(values, "std", where), f"{where} says so")


def _named(mean: Triple, std: Triple, reason: str) -> Normalisation:
    if min(std) <= 0:
        raise UnreadableCheckpoint("A standard deviation of pixels must be positive.", evidence=f"found {std}")
    name = next((name for name, known in _SETS.values() if known == (mean, std)), "its own")
    return Normalisation(mean, std, name, reason)


def _triple(values: Mapping[str, Any], key: str, where: str) -> Triple:
    found = values.get(key)
    try:
        first, second, third = (float(value) for value in found or ())
    except (TypeError, ValueError) as error:
        raise UnreadableCheckpoint(
            f"{where} has no usable {key}.", evidence=f"found {shown(found)}; needed three numbers"
        ) from error
    if not all(abs(value) < 1e3 for value in (first, second, third)):
        raise UnreadableCheckpoint(f"{where} has no usable {key}.", evidence=f"found {shown(found)}; needed three numbers")
    return first, second, third
