"""`edgec check`: a table, JSON, and exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgec.lowering.tensorrt import TensorRt
from edgec.precision.static import uniform
from tests.lowering.tensorrt.test_check import conditional, norm_in_pieces, quantised, relu
from tests.support.commands import edgec
from tests.support.models import VIT, exported

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def made(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def write(model: onnx.ModelProto, name: str = "graph.onnx") -> Path:
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


def test_a_graph_that_is_accepted(say: Said, made: Callable[..., Path]) -> None:
    path = made(relu())
    code, out, err = say("check", path, "--tensorrt", "10.3")
    assert (code, err) == (0, "")
    assert out.replace("\n", "") == f"{path} on TensorRT 10.3: no errors, no warnings"


def test_errors_are_shown_with_places_consequence_remedy_and_source(say: Said, made: Callable[..., Path]) -> None:
    code, out, err = say("check", made(conditional()), "--tensorrt", "10.3")
    assert (code, err) == (1, "")
    for words in ("1 error, no warnings", "error", "conditional", "rope", "To do:", "Source: NVIDIA/TensorRT issues 4558 and"):
        assert words in out


def test_warnings_alone_are_no_failure(say: Said, made: Callable[..., Path]) -> None:
    code, out, _ = say("check", made(norm_in_pieces()), "--tensorrt", "10.3")
    assert code == 0
    assert "no errors, 1 warning" in out


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(made: Callable[..., Path], width: int, tmp_path: Path) -> None:
    made(quantised(zero=3, cast=True))
    done = edgec("check", "graph.onnx", cwd=tmp_path, env={"COLUMNS": str(width)})
    assert done.returncode == 1, done.stderr
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= width
    assert "zero-point" in done.stdout


def test_several_versions_and_the_default_ones(say: Said, made: Callable[..., Path]) -> None:
    path = made(quantised())
    code, out, _ = say("check", path, "--tensorrt", "8.6", "--tensorrt", "10.3", "--tensorrt", "8.6", "--json")
    document = json.loads(out)
    assert code == 1
    assert document["tensorrt"] == ["8.6", "10.3"]
    [finding] = document["graphs"][0]["findings"]
    assert (finding["id"], finding["versions"], finding["places"]) == ("int8-constant", ["8.6"], ["w"])
    assert {"8.6", "10.3", "10.16", "11.4"} <= set(json.loads(say("check", path, "--json")[1])["tensorrt"])
    assert say("check", path, "--tensorrt", "10.3")[0] == 0


def test_an_artefact_s_graphs_are_all_checked(say: Said, tmp_path: Path) -> None:
    made = exported(VIT)
    (tmp_path / "a.edgec" / "model").mkdir(parents=True)
    for precision in ("fp16", "fp32"):
        TensorRt().lower(made.graph, uniform(precision), tmp_path / "a.edgec" / "model")  # type: ignore[arg-type]
    code, out, _ = say("check", tmp_path / "a.edgec", "--json")
    document = json.loads(out)
    assert code == 0
    assert [Path(graph["graph"]).name for graph in document["graphs"]] == ["fp16.onnx", "fp32.onnx"]
    onnx.save(conditional(), tmp_path / "a.edgec" / "model" / "odd.onnx")
    code, out, _ = say("check", tmp_path / "a.edgec", "--tensorrt", "10.3")
    assert code == 1
    assert out.count("on TensorRT 10.3") == 3


def test_an_artefact_of_another_runtime_s_graph_too(say: Said, artefact: Path) -> None:
    code, out, _ = say("check", artefact, "--tensorrt", "10.3")
    assert code in (0, 1)
    assert "model.onnx on TensorRT 10.3" in out.replace("\n", "")


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, 2), (b"", 8), (b"\x00\x01\x02" * 50, 8), (b"graph: none\n" * 20, 8)],
    ids=["absent", "empty", "garbage", "text"],
)
def test_files_that_are_no_graph_get_one_clear_error(say: Said, tmp_path: Path, content: bytes | None, code: int) -> None:
    path = tmp_path / "graph.onnx"
    if content is not None:
        path.write_bytes(content)
    document, out, err = say("check", path)
    assert (document, out) == (code, "")
    assert err.startswith("edgec: ")
    assert str(path) in err.replace("\n", "")
    assert "Traceback" not in err


def test_a_truncated_file(say: Said, made: Callable[..., Path]) -> None:
    path = made(exported(VIT).hub)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    code, out, err = say("check", path, "--tensorrt", "10.3")
    assert code == 8
    assert out == ""
    assert "not a whole ONNX model" in err


@pytest.mark.parametrize("version", ["ten", "12", "7.2", ""])
def test_what_is_no_version(say: Said, made: Callable[..., Path], version: str) -> None:
    code, out, err = say("check", made(relu()), "--tensorrt", version)
    assert (code, out) == (2, "")
    assert "TensorRT" in err


def test_an_empty_directory_and_one_that_may_not_be_read(say: Said, tmp_path: Path) -> None:
    assert say("check", tmp_path)[0] == 2
    shutil.rmtree(tmp_path)
    assert say("check", tmp_path)[0] == 2


def test_names_cannot_steer_the_terminal(say: Said, made: Callable[..., Path]) -> None:
    model = conditional()
    model.graph.node[0].name = "\x1b[2Jrope\r\n[bold]x[/bold]"
    code, out, _ = say("check", made(model), "--tensorrt", "10.3")
    assert code == 1
    assert "\x1b[2J" not in out
    assert "[bold]x[/bold]" in out.replace("\n", "")


def test_help_and_the_list_of_commands(say: Said) -> None:
    code, out, _ = say("check", "-h")
    assert code == 0
    assert "Exit code" in out
    assert "check" in say("--help")[1]
