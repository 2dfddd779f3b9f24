"""Why two bundles, or two artefacts, differ: by file, and within a JSON file by value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from edgec.artefact.statements import REPORT
from edgec.bundle.trusting import as_edgec_errors, place_of
from edgec.onboard.container import RELEASE, REPORT_SIGNATURE, SBOM, SIGNATURE, Source, is_measurement, read_in, sha256_in
from edgec.onboard.trust import open_source
from edgec.records.manifest import MANIFEST
from edgec.untrusted import Refused, parse_json, printable

Part = Literal["release", "artefact", "measurement", "signature"]
_MOST_BYTES = 64 << 20
_MOST_VALUES = 12
_LONGEST = 60
_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """A file that is in one alone, or not the same in both. `why` are the values that differ, or where the bytes begin to."""

    part: Part
    path: str
    what: Literal["only in A", "only in B", "differs"]
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Every difference. `same_release` is whether all that the release's signature covers is the same: an ECDSA signature is
    another one each time, and a measurement may be replaced."""

    differences: tuple[Difference, ...]
    chosen: tuple[str, ...] = ()
    """The candidates that the two reports say were chosen, if these are two."""

    @property
    def same_release(self) -> bool:
        """Whether only signatures and measurements differ, if anything does."""
        return all(difference.part in ("signature", "measurement") for difference in self.differences)

    @property
    def summary(self) -> str:
        """One sentence."""
        parts = {difference.part for difference in self.differences}
        if not parts:
            return "The same, byte for byte."
        if parts == {"signature"}:
            return "The same release: only the signatures differ. ECDSA signs the same content differently each time."
        if parts <= {"signature", "measurement"}:
            return "The same release, with another measurement."
        if "artefact" not in parts:
            return "The same artefact, released under other terms."
        if self.chosen:
            one, other = map(printable, self.chosen)
            return (
                f"Two artefacts: the builds chose {one} and {other}. Where measuring chooses, it may choose differently the next "
                f"time; build both with --candidate {one} for the same one."
            )
        return "Two artefacts."


def compare_bundles(a: Path, b: Path) -> Comparison:
    """Compare two bundles, artefacts, or one of each. Nothing in them is trusted, and no signature is checked.

    Raises `Untrusted` for a file that is no bundle, and `ArtefactError` if nothing is there.
    """
    with as_edgec_errors(), open_source(place_of(a)) as one, open_source(place_of(b)) as other:
        differences = sorted(_differences(one, other), key=lambda each: (_PARTS.index(each.part), each.path))
        chosen = tuple(map(_chosen, (one, other)))
        return Comparison(tuple(differences), chosen if all(chosen) and len(set(chosen)) > 1 else ())


_PARTS: tuple[Part, ...] = ("release", "artefact", "measurement", "signature")


def _differences(a: Source, b: Source) -> Iterator[Difference]:
    for path in a.sizes.keys() | b.sizes.keys():
        if path not in b.sizes:
            yield Difference(_part(path), path, "only in A")
        elif path not in a.sizes:
            yield Difference(_part(path), path, "only in B")
        elif a.sizes[path] != b.sizes[path] or sha256_in(a, path) != sha256_in(b, path):
            yield Difference(_part(path), path, "differs", tuple(_why(a, b, path)))


def _chosen(source: Source) -> str:
    """The chosen candidate's name, of a report that has one."""
    if REPORT not in source.sizes:
        return ""
    try:
        report = parse_json(read_in(source, REPORT, _MOST_BYTES))
    except Refused:
        return ""
    name = report.get("chosen") if isinstance(report, dict) else None
    return name if isinstance(name, str) else ""


def _part(path: str) -> Part:
    if path in (SIGNATURE, REPORT_SIGNATURE):
        return "signature"
    if is_measurement(path):
        return "measurement"
    return "release" if path.startswith("signed/") else "artefact"


def _why(a: Source, b: Source, path: str) -> Iterator[str]:
    if path.endswith(".json") or path in (RELEASE, SBOM, MANIFEST):
        try:
            one, other = (parse_json(read_in(source, path, _MOST_BYTES)) for source in (a, b))
        except Refused as error:
            yield f"one {error}"
        else:
            values = list(islice(_values(one, other, ""), _MOST_VALUES + 1))
            yield from values[:_MOST_VALUES]
            if len(values) > _MOST_VALUES:
                yield "and more"
            if values:
                return
    yield _bytes(a, b, path)


def _values(a: Any, b: Any, where: str) -> Iterator[str]:
    """The values that differ, each with its place in the document."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in [*a, *(name for name in b if name not in a)]:
            yield from _values(a.get(name, _ABSENT), b.get(name, _ABSENT), f"{where}.{name}" if where else name)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _values(one, other, f"{where}[{_key(one, index)}]")
    elif a is not b and (type(a) is not type(b) or a != b):
        yield f"{printable(where)}: {_shown(a)} and {_shown(b)}"


def _key(value: Any, index: int) -> str:
    """What a list's element is called: files and components have names."""
    named = isinstance(value, dict) and next(
        (value[key] for key in ("path", "name", "stage") if isinstance(value.get(key), str)), None
    )
    return named or str(index)


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _bytes(a: Source, b: Source, path: str) -> str:
    offset = 0
    for one, other in zip(a.blocks(path), b.blocks(path), strict=False):
        if one != other:
            offset += next(
                (index for index, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other))
            )
            break
        offset += len(one)
    return f"from byte {offset:,} on; {a.sizes[path]:,} and {b.sizes[path]:,} bytes"
