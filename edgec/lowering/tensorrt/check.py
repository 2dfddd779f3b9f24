"""Whether TensorRT accepts a graph and computes what it says, by the rules of `rules.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgec.errors import ArtefactError, RequestError
from edgec.lowering.tensorrt import patterns, patterns_compiled, patterns_maps  # noqa: F401 - the latter adds its own to the former's
from edgec.lowering.tensorrt.graph_files import require_file
from edgec.lowering.tensorrt.rules import Rule, Version, newest_known, oldest_known, parse_version, read_rules
from edgec.lowering.tensorrt.view import View


@dataclass(frozen=True)
class Violation:
    """A rule that a graph breaks, with the versions asked about that it holds for and its places: names of nodes or tensors."""

    rule: Rule
    versions: tuple[str, ...]
    places: tuple[str, ...]

    @property
    def is_error(self) -> bool:
        """Whether TensorRT refuses the graph or computes something else, rather than that it may."""
        return self.rule.severity == "error"


def check_graph(model: onnx.ModelProto, versions: Sequence[str]) -> tuple[Violation, ...]:
    """The rules that the graph breaks on these TensorRT versions, errors first.

    Raises `RequestError` for text that is no version, and for a version that no rule covers.
    """
    parsed_versions = {version: _known(version) for version in versions}
    view, rules = View(model), read_rules()
    violations = []
    for rule in rules.rule:
        places: dict[str, tuple[str, ...]] = {}
        for version, parsed in parsed_versions.items():
            if rule.tensorrt.hold(parsed):
                # For one rule, only the supported operators differ between versions.
                known = {"known": rules.known_operators(parsed)} if rule.pattern == "unsupported" else {}
                places[version] = patterns.run(rule.pattern, view, {**rule.parameters, **known})
        hit = {version: names for version, names in places.items() if names}
        for names in dict.fromkeys(hit.values()):
            violations.append(Violation(rule, tuple(version for version, each in hit.items() if each == names), names))
    return tuple(sorted(violations, key=lambda violation: not violation.is_error))


def read_graph(path: Path) -> onnx.ModelProto:
    """The model in an ONNX file. Raises `RequestError` if there is no such file, `ArtefactError` if it is no whole ONNX model."""
    require_file(path)
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's own; a missing file of weights is one of them
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtefactError(f"{path} is not a whole ONNX model.", evidence=lines[:2], remedy=_AGAIN) from error
    if not model.graph.node or not model.opset_import:
        raise ArtefactError(f"{path} is not an ONNX model.", evidence="it holds no graph with nodes in it", remedy=_AGAIN)
    return model


_AGAIN = "export or copy it again, with the .data file beside it if it has one"


def _known(version: str) -> Version:
    parsed = parse_version(version)
    if not oldest_known() <= parsed < newest_known():
        oldest, newest = (".".join(map(str, each)) for each in (oldest_known(), newest_known()))
        raise RequestError(
            f"There are no rules for TensorRT {version}.",
            evidence=f"known: from {oldest} up to but not including {newest}",
            remedy="give one of these; `edgec targets show jetson-orin-nano` lists those of a board",
        )
    return parsed
