"""NVIDIA's real parser and compiler, and what is read from them."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

from edgec.errors import RequestError, TargetError
from edgec.graph.files import save
from edgec.graph.passes.base import rewritten
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.compiler import compiling, machines
from edgec.lowering.tensorrt.compiler.compiling import Compiled, compile_engine, compile_for_each, compile_graph
from edgec.lowering.tensorrt.compiler.kernels import computes_in, read_kernels
from edgec.lowering.tensorrt.scales import FoldScales
from edgec.lowering.tensorrt.writing import typed_model
from edgec.precision.static import uniform
from edgec.records.evidence import Evidence
from tests.lowering.cases import plan_of
from tests.lowering.tensorrt.graphs import F32, graph, node
from tests.support.models import HEADS, exported

installed = pytest.mark.skipif(
    not machines.availability().available, reason="NVIDIA's compiler is not installed: there is no wheel for this platform"
)
TENSOR = "{{ Name: {0}, Dimensions: [{1}], Strides: [1], Datatype: {2}, Format: (Linear) Row major linear format }}"


def line(name: str, kind: str, reads: str, writes: str, operations: tuple[str, ...], constants: str = "") -> str:
    """As the compiler's list has it."""
    layers = "\x1f".join(f"[ONNX Layer: {operation}]" for operation in operations)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {reads}], Constants: [ {constants}], Outputs: [ {writes}], "
        f"TacticName: t, StreamId: 0, Metadata: {layers}"
    )


def tensor(name: str, sides: str, kind: str) -> str:
    return TENSOR.format(name, sides, kind)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def compiled(folder: Path) -> dict[str, Compiled]:
    made = exported(HEADS)
    plan = plan_of(TensorRt(), "int8", made, rest="fp16", activations="s8", paired=False)
    models = {"fp16": typed_model(made.graph, uniform("fp16"))[0], "int8": typed_model(made.graph, plan)[0]}
    models["folded"] = rewritten(models["int8"], FoldScales())
    for name, model in models.items():
        save(model, folder / f"{name}.onnx")
    return {name: compile_graph(folder / f"{name}.onnx", "86", ("jetson-orin-nano",)) for name in models}


@installed
@pytest.mark.parametrize(
    ("name", "types"), [("fp16", {"fp16": 9}), ("int8", {"fp16": 3, "int8": 6}), ("folded", {"fp16": 3, "int8": 6})]
)
def test_every_attention_is_one_kernel_and_products_run_in_their_types(
    compiled: dict[str, Compiled], name: str, types: dict[str, int]
) -> None:
    summary = compiled[name].summary
    assert summary.accepted, summary.refusal
    assert (summary.attentions, summary.attentions_fused) == (1, 1)
    assert summary.products == types
    assert summary.evidence is Evidence.COMPILED
    assert summary.boards == ("jetson-orin-nano",)
    assert summary.kernels == len(compiled[name].kernels) == sum(summary.kernels_by_kind.values())
    assert min(summary.moved_bytes, summary.weights_bytes, summary.activation_bytes, summary.engine_bytes) > 0


@installed
def test_an_attention_is_one_product_one_rotation_one_fused_kernel_and_one_product(compiled: dict[str, Compiled]) -> None:
    kernels = [each for each in compiled["fp16"].kernels if any(name.startswith("blocks.0.attn.") for name in each.operations)]
    assert [each.kind for each in kernels] == ["product", "glue", "attention", "product"]
    for each in compiled.values():
        assert "copy" not in each.summary.kernels_by_kind


@installed
def test_folded_scales_hand_over_half_as_much(compiled: dict[str, Compiled]) -> None:
    moved = {
        name: sum(
            kernel.outputs[0].size_bytes for kernel in each.kernels if kernel.kind == "product" and computes_in(kernel) == "int8"
        )
        for name, each in compiled.items()
    }
    assert 2 * moved["folded"] == moved["int8"]
    assert compiled["folded"].summary.moved_bytes < compiled["int8"].summary.moved_bytes


@installed
def test_the_same_graph_compiles_to_the_same_counts(folder: Path, compiled: dict[str, Compiled]) -> None:
    again = compile_graph(folder / "int8.onnx", "86", ("jetson-orin-nano",)).summary
    first = compiled["int8"].summary
    assert again.model_copy(update={"compile_s": 0.0}) == first.model_copy(update={"compile_s": 0.0})


@installed
def test_one_process_compiles_for_several_gpus_as_one_for_each_does(folder: Path, compiled: dict[str, Compiled]) -> None:
    here, thor = compile_for_each(folder / "int8.onnx", {"86": ("jetson-orin-nano",), "120": ("jetson-thor",)})
    assert here.kernels == compiled["int8"].kernels
    assert here.summary.model_copy(update={"compile_s": 0.0}) == compiled["int8"].summary.model_copy(update={"compile_s": 0.0})
    alone = compile_graph(folder / "int8.onnx", "120", ("jetson-thor",))
    assert (thor.summary.sm, thor.summary.boards, thor.kernels) == ("120", ("jetson-thor",), alone.kernels)


@installed
def test_a_refused_graph_has_the_parsers_own_words(tmp_path: Path) -> None:
    model = graph([node("Det", "x", "y")], [("x", F32, [1, 4, 4])], [("y", F32, [1])])
    path = tmp_path / "det.onnx"
    onnx.save(model, path)
    summary = compile_graph(path, "86").summary
    assert not summary.accepted
    assert "Det" in summary.refusal
    assert summary.kernels == 0


@installed
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import time; time.sleep(600)", "was ended after"),
    ],
    ids=["crashes", "ends", "hangs"],
)
def test_a_compiler_that_crashes_or_hangs_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    """A stand-in in the place of the process, because the real compiler does neither on demand."""
    (tmp_path / "badcompiler.py").write_text(f"print('last', 'words', flush=True)\n{source}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(compiling, "_WORKER", "badcompiler")
    summary = compile_graph(tmp_path / "any.onnx", "86", seconds=5.0).summary
    assert says in summary.refusal
    assert "last words" in summary.refusal


@installed
def test_a_crash_for_one_gpu_says_nothing_about_the_others(
    folder: Path, compiled: dict[str, Compiled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process's place one that crashes if SM 120 is asked of it, and is the real one otherwise."""
    real = "from edgec.lowering.tensorrt.compiler.worker import main; main()"
    source = f"import os, sys\nos.abort() if '120' in sys.argv[2] else None\n{real}\n"
    (tmp_path / "badcompiler.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    monkeypatch.setattr(compiling, "_WORKER", "badcompiler")
    here, thor = compile_for_each(folder / "int8.onnx", {"86": (), "120": ()})
    assert here.kernels == compiled["int8"].kernels
    assert "SIGABRT" in thor.summary.refusal


def test_without_the_package_it_is_said_how_to_add_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "MODULE", "no_such_compiler")
    with pytest.raises(TargetError) as caught:
        compile_graph(tmp_path / "any.onnx", "86")
    assert "pip install 'edgec[nvidia]'" in str(caught.value.remedy)


def test_a_machine_that_is_none_is_refused() -> None:
    assert machines.parse_sms("86, SM121,86") == ("86", "121")
    with pytest.raises(RequestError, match="87"):
        machines.parse_sms("87")


@pytest.mark.parametrize(("capability", "sm"), [("8.7", "86"), ("11.0", "120"), ("7.2", "")])
def test_each_jetson_has_its_stand_in(capability: str, sm: str) -> None:
    assert machines.stand_in(capability) == sm


def test_kinds_types_and_bytes_are_read_from_a_line() -> None:
    half, byte = tensor("h", "1,201,384", "Half"), tensor("b", "1,201,384", "Int8")
    weight = tensor("w", "384,1152", "Int8")
    rows = (
        line(
            "blocks.0.attn.q_myl0_3",
            "gemm",
            byte,
            tensor("o", "1,201,1152", "Float"),
            ("blocks.0.attn.q", "blocks.0.attn.k"),
            weight,
        ),
        line("__myl_FcAddAdd_myl0_6", "kgen", half, half, ("proj",), tensor("w", "384,384", "Half")),
        line("_gemm_mha_v2_myl0_7", "kgen", f"{half}, {half}", byte, ("scores", "softmax", "mix")),
        line("__myl_MoveReshTran_myl0_8", "kgen", byte, byte, ("transpose",)),
        line("__myl_CastMeanSubMulMean_myl0_9", "kgen", half, byte, ("norm",)),
        line("patch_embed_U1_myl0_1", "correlation", tensor("x", "1,3,32,32", "Float"), half, ("patch_embed",)),
    )
    kernels = read_kernels(rows)
    assert [kernel.kind for kernel in kernels] == ["product", "product", "attention", "copy", "glue", "convolution"]
    first = kernels[0]
    assert first.operations == ("blocks.0.attn.q", "blocks.0.attn.k")
    assert first.moved_bytes == 201 * 384 + 201 * 1152 * 4
    assert first.constant_bytes == 384 * 1152
    assert computes_in(first) == "int8"
    assert str(first.outputs[0]) == "fp32 1x201x1152"


def test_a_weight_that_is_only_stored_in_bytes_is_not_multiplied_in_bytes() -> None:
    half = tensor("h", "1,201,384", "Half")
    (kernel,) = read_kernels([line("mm", "gemm", half, half, ("mm",), tensor("w", "384,384", "Int8"))])
    assert computes_in(kernel) == "fp16"


@pytest.mark.parametrize(("steps", "kind"), [("CastMulFc", "fp32"), ("FcMulCast", "int8")])
def test_a_kernel_that_casts_before_it_multiplies_does_not_multiply_in_bytes(steps: str, kind: str) -> None:
    byte, weight = tensor("b", "1,64,64", "Int8"), tensor("w", "64,64", "Int8")
    row = line(f"__myl_{steps}_myl0_1", "kgen", byte, tensor("o", "1,64,64", "Float"), ("mm",), weight)
    assert [computes_in(kernel) for kernel in read_kernels([row])] == [kind]


@pytest.mark.parametrize("row", ["", "Name: x", "Name: x, LayerType: gemm, Inputs: [ ]"])
def test_a_line_of_something_else_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="not a line"):
        read_kernels([row])


def test_a_type_of_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="Complex"):
        read_kernels([line("mm", "gemm", tensor("x", "1,2", "Complex"), tensor("y", "1,2", "Half"), ())])


@installed
def test_an_engine_is_the_same_from_processes_with_other_memory(
    compiled: dict[str, Compiled], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environments of other sizes, and a folder with another name, move all that Python allocates. Without the worker's care
    about five of twelve differ."""
    engines = set()
    for number, size in enumerate((1, 500, 1500, 3000, 7000, 9000)):
        graph = tmp_path / ("folder" * (1 + 3 * number)) / "fp16.onnx"
        graph.parent.mkdir()
        graph.write_bytes((folder / "fp16.onnx").read_bytes())
        monkeypatch.setenv("EDGEC_TEST_FILLER", "x" * size)
        monkeypatch.setenv("MALLOC_ARENA_MAX", str(1 + number % 2))
        compile_engine(graph, ["86"], tmp_path / "engine")
        engines.add((tmp_path / "engine").read_bytes())
    assert len(engines) == 1
