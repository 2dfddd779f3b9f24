"""A hub graph whose int8 can be switched on for each operation alone, as it runs: for measuring what each one costs the features.

Every product's activation is `x + on * (int8(x) - x)` and its weight likewise, with `on` an element of the new input `switches`,
float32 [operations]. With all at 0 it computes what the hub graph does.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgec.graph.operations import constants, operations
from edgec.graph.passes.quantise import activation_parameters, quantised_weight
from edgec.graph.plan import PrecisionPlan

SWITCHES = "switches"


def with_switches(hub: onnx.ModelProto, plan: PrecisionPlan) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The graph, and the operations that the switches are for, in order: those that the plan runs in static int8."""
    model = onnx.ModelProto()
    model.CopyFrom(hub)
    graph = model.graph
    chosen = [operation for operation in operations(hub) if plan.precision_of(operation.name) == "int8"]
    values = constants(hub)
    nodes = {node.name: node for node in graph.node}
    before: dict[str, list[onnx.NodeProto]] = {}
    made: set[str] = set()

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def blend(exact: str, lost: str, on: str, result: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Mul", [lost, on], [f"{result}.part"]),
            helper.make_node("Add", [exact, f"{result}.part"], [result]),
        ]

    for index, operation in enumerate(chosen):
        node, tensor = nodes[operation.name], operation.activation
        on = f"{operation.name}.on"
        added = [helper.make_node("Gather", [SWITCHES, constant(f"{on}.index", np.array(index, np.int64))], [on])]
        if tensor not in made:
            made.add(tensor)
            scale, zero = activation_parameters(plan.ranges[tensor], plan.activations)
            names = [constant(f"{tensor}.scale", np.asarray(scale)), constant(f"{tensor}.zero", zero)]
            added += [
                helper.make_node("QuantizeLinear", [tensor, *names], [f"{tensor}.int8"]),
                helper.make_node("DequantizeLinear", [f"{tensor}.int8", *names], [f"{tensor}.rounded"]),
                helper.make_node("Sub", [f"{tensor}.rounded", tensor], [f"{tensor}.lost"]),
            ]
        added += blend(tensor, f"{tensor}.lost", on, f"{operation.name}.activation")
        weight = numpy_helper.to_array(values[operation.weight])
        found = quantised_weight(operation, values, plan)
        scales = found.scales.reshape([-1 if axis == operation.channel_axis else 1 for axis in range(weight.ndim)])
        lost = constant(f"{operation.name}.weight.lost", (found.integers * scales - weight).astype(np.float32))
        added += blend(operation.weight, lost, on, f"{operation.name}.weight.blended")
        node.input[0], node.input[1] = f"{operation.name}.activation", f"{operation.name}.weight.blended"
        before[operation.name] = added
    ordered = [each for node in graph.node for each in (*before.get(node.name, ()), node)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
    graph.input.append(helper.make_tensor_value_info(SWITCHES, onnx.TensorProto.FLOAT, [len(chosen)]))
    return model, tuple(operation.name for operation in chosen)
