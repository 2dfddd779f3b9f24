"""How pixels are normalised, and on what evidence: features depend on it, and the weights do not say it."""

from __future__ import annotations

from edgec.checkpoint.provenance.published import Published
from edgec.checkpoint.statements import Conflict, Statement, Statements
from edgec.checkpoint.statements.types import same
from edgec.checkpoint.types import Finding
from edgec.model.normalisation import LVD, SAT, Normalisation
from edgec.text import listed, shown

_SETS = {"lvd1689m": ("LVD-1689M", LVD), "sat493m": ("SAT-493M", SAT)}


def normalisation(
    statements: Statements,
    labels: tuple[str, ...],
    published: Published | None,
    local_cls_norm: bool,
    findings: list[Finding],
    *,
    chosen: bool = False,
) -> Normalisation:
    """The normalisation that is stated, else the one that a published file's hash or names imply, else LVD-1689M's.

    `labels` are names, the most specific first. With `chosen` the statements are from --config, and win against names and hashes,
    with a warning. Raises `Conflict` if two pieces of evidence differ otherwise.
    """
    stated = statements.one("normalisation")
    hints = _hints(statements, labels, published)
    if stated is not None:
        for hint in hints:
            if not same(hint.value, stated.value):
                if not chosen:
                    raise Conflict("normalisation", [stated, hint])
                findings.append(Finding("warning", f"normalisation: {stated.where} is believed, but {hint.where}"))
        return _named(stated.value, f"{stated.where} say so" if "," in stated.where else f"{stated.where} says so")
    if hints:
        first, *others = hints
        if any(not same(first.value, other.value) for other in others):
            raise Conflict("normalisation", hints)
        return _named(first.value, first.where)
    if local_cls_norm:
        return _named((*SAT[0], *SAT[1]), "it has a local_cls_norm, as the SAT-493M backbone has")
    reason = "assumed, nothing says otherwise"
    if statements.unreadable:
        reason = f"assumed: no readable file says otherwise; not readable: {listed(statements.unreadable)}"
    return Normalisation(*LVD, "LVD-1689M", reason)


def _hints(statements: Statements, labels: tuple[str, ...], published: Published | None) -> list[Statement]:
    hints = []
    if published is not None:
        hints.append(_hint(published.trained_on, f"its SHA-256 is that of Meta's {published.name}"))
    named = [(label, "the name") for label in labels]
    named += [(str(origin.value), origin.where) for origin in statements.about("origin")]
    for label, where in named:
        key = next((key for key in _SETS if key in label.lower().replace("-", "").replace("_", "")), None)
        if key:
            hints.append(_hint(key, f"{where} {shown(label, 80)} says {key}"))
            break
    return hints


def _hint(key: str, reason: str) -> Statement:
    _, (mean, std) = _SETS[key]
    return Statement("normalisation", (*mean, *std), reason)


def _named(value: object, reason: str) -> Normalisation:
    assert isinstance(value, tuple)
    mean, std = value[:3], value[3:]
    name = next((name for name, known in _SETS.values() if same((*known[0], *known[1]), value)), "its own")
    if (mean, std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        name = "none"
    return Normalisation(mean, std, name, reason)
