"""How pixels are normalised, and why so: the one thing that decides features and is in no weight."""

from __future__ import annotations

from edgec.checkpoint.published import Published
from edgec.checkpoint.stated import Conflict, Statement, Statements
from edgec.checkpoint.stated.types import same
from edgec.checkpoint.text import listed, shown
from edgec.checkpoint.types import Finding
from edgec.model.normalisation import LVD, SAT, Normalisation

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
    """What is stated, else what the published file's own hash or names tell, else the rule.

    `labels` are names, most telling first. `chosen`: the statements are from a file that the user named, which names and hashes
    do not contradict. Raises `Conflict` where two pieces of evidence differ.
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
        reason = f"assumed, nothing that could be read says otherwise; unread: {listed(statements.unreadable)}"
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
