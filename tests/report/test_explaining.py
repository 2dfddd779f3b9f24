from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from edgec.records.evidence import Evidence
from edgec.records.explanation import ExceptionFacts, Explanation, MassiveActivation, OperationFacts
from edgec.records.fidelity import StageFidelity
from edgec.records.report import Report
from edgec.report import explaining
from edgec.report.explaining import Explained, Loss, Price

LEAVES = {"attn.q": "int8", "attn.scores": "bf16", "attn.proj": "int8-per-token", "mlp.fc1": "int8", "mlp.fc2": "int8-per-token"}


@pytest.fixture
def explanation() -> Explanation:
    """Twelve blocks and a patch embedding."""
    operations = [OperationFacts(name="patch_embed", kind="embedding", precision="bf16", reason="sees raw pixels", macs=100)]
    for block in range(12):
        for leaf, precision in LEAVES.items():
            operations.append(
                OperationFacts(
                    name=f"blocks.{block}.{leaf}",
                    kind="attention" if leaf == "attn.scores" else "linear",
                    precision=precision,
                    reason={"int8": "a static range holds", "bf16": "softmax", "int8-per-token": "massive tokens"}[precision],
                    macs=50 if leaf == "attn.scores" else 200,
                    smoothed=leaf in ("attn.q", "mlp.fc1"),
                    sensitivity=None if leaf == "attn.scores" else (block + 1) * 1e-6 + (5e-5 if leaf == "mlp.fc2" else 0),
                )
            )
    taken = tuple(entry.name for entry in operations if entry.precision == "int8-per-token")
    return Explanation(
        evidence=Evidence.HOST,
        int8_macs_share=0.93,
        operations=tuple(operations),
        exceptions=(
            ExceptionFacts(operations=taken, precision="int8-per-token", reason="massive", lost_without=3e-4, lost_with=1.5e-4),
        ),
        massive=(
            MassiveActivation(operation="blocks.2.mlp.fc2", channel=852, token="cls", frame="a.jpg", value=-18.29, ratio=6.2),
        ),
    )


def stage(name: str, worst: float) -> StageFidelity:
    return StageFidelity(
        stage=name, cls_cosine_mean=1, patch_cosine_mean=1, patch_cosine_p01=worst, frames=4, evidence=Evidence.HOST
    )


def shown(table: Any, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_kinds_add_up(explanation: Explanation) -> None:
    result = {(kind.kind, kind.precision): kind for kind in explaining.kinds(explanation)}
    assert {key: kind.count for key, kind in result.items()} == {
        ("embedding", "bf16"): 1,
        ("linear", "int8"): 24,
        ("attention", "bf16"): 12,
        ("linear", "int8-per-token"): 24,
    }
    assert sum(kind.share for kind in result.values()) == pytest.approx(1)
    assert result["linear", "int8"].share == pytest.approx(24 * 200 / (100 + 12 * 850))
    assert result["linear", "int8-per-token"].reason == "massive tokens"
    assert any(
        "linear     int8-per-token     24  46.6%  massive tokens" in line for line in shown(explaining.kinds_table(explanation))
    )


def test_many_reasons_are_cut_short(explanation: Explanation) -> None:
    operations = tuple(
        entry.model_copy(update={"reason": f"reason {index % 5}", "kind": "linear", "precision": "int8"})
        for index, entry in enumerate(explanation.operations)
    )
    (kind,) = explaining.kinds(explanation.model_copy(update={"operations": operations}))
    assert kind.reason == "reason 0; reason 1; and 3 more reasons"


def test_a_row_a_block_and_a_column_an_operation(explanation: Explanation) -> None:
    table, elsewhere = explaining.blocks_table(explanation)
    lines = shown(table)
    assert lines[0].split() == ["block", "q", "scores", "proj", "fc1", "fc2"]
    assert [line.split() for line in lines[1:]] == [[str(block), "i8+", "bf16", "tok", "i8+", "tok"] for block in range(12)]
    assert elsewhere == ("patch_embed bf16",)


def test_stages_of_blocks_and_names_that_end_alike() -> None:
    names = [
        "stages.0.downsample",
        "stages.0.blocks.0.dwconv",
        "stages.0.blocks.0.fc1",
        "stages.1.blocks.0.a.x",
        "stages.1.blocks.0.b.x",
    ]
    operations = tuple(OperationFacts(name=name, kind="linear", precision="int8", reason="", macs=1) for name in names)
    explanation = Explanation(evidence=Evidence.HOST, int8_macs_share=1, operations=operations)
    table, elsewhere = explaining.blocks_table(explanation)
    assert [line.split() for line in shown(table)] == [
        ["block", "dwconv", "fc1", "a.x", "b.x"],
        ["0.0", "i8", "i8", "-", "-"],
        ["1.0", "-", "-", "i8", "i8"],
    ]
    assert elsewhere == ("stages.0.downsample i8",)


def test_the_ten_most_sensitive(explanation: Explanation) -> None:
    names = [operation.name for operation in explaining.most_sensitive(explanation)]
    assert names == [f"blocks.{block}.mlp.fc2" for block in range(11, 1, -1)]
    lines = shown(explaining.sensitive_table(explanation))
    assert lines[1].split() == ["blocks.11.mlp.fc2", "int8-per-token", "0.0000620"]


def test_massive_activations(explanation: Explanation) -> None:
    line = shown(explaining.massive_table(explanation))[1]
    assert line.split() == ["blocks.2.mlp.fc2", "cls", "852", "-18.29", "6.2x", "a.jpg"]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([], None),
        ([("hub", 1.0), ("int8", 0.99995), ("artefact", 0.99995)], None),
        ([("hub", 1.0), ("int8", 0.9998), ("artefact", 0.9998)], Loss("int8", 0.9998, "hub", 1.0)),
        ([("hub", 0.9), ("int8", 0.8)], Loss("hub", 0.9, "PyTorch", 1.0)),
        ([("hub", 1.0), ("int8", 0.99995), ("artefact", 0.99)], Loss("artefact", 0.99, "int8", 0.99995)),
    ],
)
def test_the_first_stage_that_lost(stages: list[tuple[str, float]], expected: Loss | None) -> None:
    result = [stage(name, worst) for name, worst in stages]
    assert explaining.first_loss(result) == expected
    line = explaining.loss_line(result)
    assert line.startswith(
        "No stage lost more than 0.0001" if expected is None else f"Fidelity was first lost at {expected.stage}:"
    )
    if expected:
        assert f"{expected.before - expected.after:.6f} below {expected.before_stage}'s" in line


def test_operations_are_named_by_range() -> None:
    names = [f"blocks.{block}.mlp.fc2" for block in (0, 1, 2, 10, 7, 11)]
    assert explaining.named(names) == "mlp.fc2 of blocks 0-2, 7, 10-11"
    assert explaining.named(["patch_embed", "stages.1.blocks.3.fc2"]).split("; ") == ["patch_embed", "fc2 of stages.1.blocks 3"]


def test_what_an_exception_gains_and_costs(explanation: Explanation, report: Report) -> None:
    (exception,) = explanation.exceptions
    candidates = tuple(
        each.model_copy(update={"name": name, "runtime": "openvino"})
        for each, name in zip(report.candidates[:2], ("openvino-int8-static", "openvino-int8-mixed"), strict=True)
    )
    report = report.model_copy(update={"candidates": candidates, "chosen": "openvino-int8-mixed"})
    assert explaining.price(report) == Price("openvino-int8-static", 62.0, 25.25)
    lines = explaining.exception_lines(Explained(report, explanation, ()), exception)
    assert lines == (
        "24 operations in int8-per-token: attn.proj of blocks 0-11; mlp.fc2 of blocks 0-11",
        "why: massive",
        "bought: fidelity loses 0.000150 instead of 0.000300",
        "cost: nothing: 25.25 ms at the median instead of 62.00, openvino-int8-static's",
    )
    dearer = report.model_copy(
        update={"candidates": tuple(each.model_copy(update={"chosen": not each.chosen}) for each in reversed(candidates))}
    )
    assert explaining.price(dearer) is None


def test_what_was_not_measured_is_named(explanation: Explanation, report: Report) -> None:
    exception = explanation.exceptions[0].model_copy(update={"lost_without": None})
    lines = explaining.exception_lines(Explained(report, explanation, ()), exception)
    assert [line.split(": ")[1] for line in lines[2:]] == ["not measured", "not measured"]
    worse = explanation.exceptions[0].model_copy(update={"lost_with": 0.5})
    assert explaining.exception_lines(Explained(report, explanation, ()), worse)[2].startswith("bought: nothing: ")


def test_what_ships_and_why(report: Report) -> None:
    assert explaining.ships(report) == f"Chosen: openvino int8. {report.reason}"


def test_text_from_files_stays_text(explanation: Explanation) -> None:
    nasty = "[red]x\x1b[31m[/red]"
    operations = tuple(
        entry.model_copy(update={"name": f"blocks.0.{nasty}", "kind": nasty, "precision": nasty, "reason": nasty})
        for entry in explanation.operations[:2]
    )
    massive = tuple(
        entry.model_copy(update={"operation": nasty, "token": nasty, "frame": nasty}) for entry in explanation.massive
    )
    changed = explanation.model_copy(update={"operations": operations, "massive": massive})
    blocks, _ = explaining.blocks_table(changed)
    for table in (
        explaining.kinds_table(changed),
        blocks,
        explaining.massive_table(changed),
        explaining.sensitive_table(changed),
    ):
        said = "".join(shown(table, 200))
        assert "[red]x" in said or table.row_count == 0
        assert "\x1b" not in said
