"""An artefact with heads, deployed to a board through a real OpenSSH server and finished there."""

from __future__ import annotations

from pathlib import Path

from edgec.records.consistency import read_report
from tests.boards.conftest import Said
from tests.boards.loopback import Board, write_manifest
from tests.device.heads import write_heads
from tests.device.robot import check_whole


def test_heads_are_verified_on_the_board(board: Board, say: Said, tmp_path: Path) -> None:
    artefact = write_manifest(write_heads(tmp_path / "small.edgec"))
    code, out, err = say(board.deploy(artefact))
    assert code == 0, err
    assert board.current is not None
    check_whole(board.robot(artefact))
    assert "kind agrees" in err
    report = read_report(artefact.with_name(f"small.{board.label}.report.json"))
    assert f"{report.chosen} (chosen)" in out
    (found,) = (candidate.fidelity for candidate in report.candidates if candidate.chosen)
    assert found is not None
    assert [task.head for task in found.tasks] == [head.name for head in report.heads]
    assert {head.kind for head in report.heads} == {"linear", "segmentation", "mlp", "depth", "onnx"}
