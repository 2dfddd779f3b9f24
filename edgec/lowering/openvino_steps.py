"""The steps of OpenVINO's CPU program, from its profiling counters, with the names in the model's file.

The runtime's graph names, for each step, the nodes that were fused into it; the model's file says what these are. OpenVINO's
fusions lose two kinds of names, which are found again by the file's edges if these leave no choice: the product that a fused bias
belongs to, and the norm that begins with an MVN.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgec.errors import RuntimeFailure
from edgec.lowering.base import Profiler, Runner, Step, first_lines
from edgec.onboard.runtimes import openvino_info

SOURCE = "OpenVINO's performance counters, whole microseconds"
PRODUCTS = ("matmul", "convolution", "groupconvolution")
FUSED_PRODUCTS = ("fullyconnected", *PRODUCTS)
TYPES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8"}
NORM = "layernormalization"

_NUMBERED = re.compile(r"[A-Za-z]+\.\d+")
"""The names that `edgec.lowering.openvino` gives to nodes that have none in the hub graph."""
_BIASES = ("add", "multiply", "subtract")
_SILENT = ("constant", "parameter", "result")


class OpenVinoProfiler(Profiler):
    """`compiled` counts performance (`PERF_COUNT`), `request` is what `runner` infers with, `path` the model's file."""

    source = SOURCE

    def __init__(self, runner: Runner, compiled: Any, request: Any, path: Path) -> None:
        super().__init__(runner)
        self._compiled = compiled
        self._request = request
        self._path = path
        self._before: dict[str, float] = {}
        self._runs_before = 0

    def begin(self) -> None:
        """Remembers the counters, which cannot be reset."""
        self._before = {name: total for name, _, _, total in self._totals()}
        self._runs_before = self.runs

    def end(self) -> tuple[Step, ...]:
        """Reads the counters, and the runtime's graph and the file for the operations in each step."""
        try:
            return self._steps()
        except RuntimeError as error:
            raise RuntimeFailure("OpenVINO's performance counters cannot be read.", evidence=first_lines(error)) from error

    def _totals(self) -> list[tuple[str, str, str, float]]:
        """Name, type, kernel and total milliseconds of each step that was executed, over all runs so far. The counters themselves
        are means."""
        return [
            (info.node_name, info.node_type, info.exec_type, info.real_time.total_seconds() * 1000 * self.runs)
            for info in (self._request.get_profiling_info() if self.runs else ())
            if str(info.status).endswith("EXECUTED")
        ]

    def _steps(self) -> tuple[Step, ...]:
        file = _ModelFile(self._path)
        nodes = {node.get_friendly_name(): node for node in self._compiled.get_runtime_model().get_ops()}
        types = {info.node_name: info.node_type.lower() for info in self._request.get_profiling_info()}
        covered = {name: openvino_info(node, "originalLayersNames").split(",") for name, node in nodes.items()}
        claimed = {name for names in covered.values() for name in names}
        runs = self.runs - self._runs_before
        steps = []
        for name, layer, kernel, total in self._totals():
            names = [each for each in covered.get(name, []) if each in file.types]
            if layer.lower() in FUSED_PRODUCTS and not any(file.types[each] in PRODUCTS for each in names):
                lost = file.product_before(names)
                if lost and lost not in claimed:
                    names.insert(0, lost)
            # For the step's own name, the runtime says what the whole step is; the file says what it was made from.
            fused = {each: file.types[each] if each == name else types.get(each, file.types[each]) for each in names}
            layers = (layer.lower(), *(NORM if each in file.norms else kind for each, kind in fused.items()))
            steps.append(
                Step(
                    name=name,
                    layers=tuple(dict.fromkeys(layers)),
                    operations=tuple(dict.fromkeys(named for each in names if (named := file.hub_name(each)))),
                    execution=kernel,
                    computes_in=TYPES.get(openvino_info(nodes[name], "runtimePrecision").lower(), "") if name in nodes else "",
                    # The counters are means in whole microseconds: the difference may be a little below zero.
                    mean_ms=max(0.0, (total - self._before.get(name, 0.0)) / runs),
                )
            )
        return tuple(steps)


class _ModelFile:
    """What the model's file says: the `types` of its nodes by name, and the name of the norm that a node is part of (`norms`)."""

    def __init__(self, path: Path) -> None:
        import openvino as ov

        # The nodes belong to the model: without it they are gone.
        self._model = ov.Core().read_model(path)
        self._nodes = {node.get_friendly_name(): node for node in self._model.get_ordered_ops()}
        every = {name: node.get_type_name().lower() for name, node in self._nodes.items()}
        self.types = {name: kind for name, kind in every.items() if kind not in _SILENT}
        self.norms: dict[str, str] = {}
        for name, kind in self.types.items():
            if kind == "mvn":
                self._follow_norm(name)

    def hub_name(self, name: str) -> str:
        """The name of the node in the hub graph; empty if it comes from OpenVINO."""
        name = self.norms.get(name, name)
        return "" if _NUMBERED.fullmatch(name) or "/" in name else name

    def product_before(self, names: list[str]) -> str:
        """The one product that the first of these nodes is computed from through additions and multiplications only; empty if
        there is none, or a choice."""
        candidates = [name for name in self._nodes if name in set(names)][:1]
        while candidates and self.types[candidates[0]] in _BIASES:
            candidates = [name for name in map(_name, _sources(self._nodes[candidates[0]])) if name in self.types]
            if len(candidates) != 1:
                return ""
        return candidates[0] if candidates and self.types[candidates[0]] in PRODUCTS else ""

    def _follow_norm(self, name: str) -> None:
        """The converter makes MVN, Multiply, Add of a LayerNormalization, of which the last has its name."""
        chain = [name]
        for kind in ("multiply", "add"):
            readers = [_name(reader.get_node()) for reader in self._nodes[chain[-1]].output(0).get_target_inputs()]
            if len(readers) != 1 or self.types.get(readers[0]) != kind:
                return
            chain.append(readers[0])
        self.norms |= dict.fromkeys(chain, chain[-1])


def _sources(node: Any) -> list[Any]:
    return [value.get_node() for value in node.input_values()]


def _name(node: Any) -> str:
    return str(node.get_friendly_name())
