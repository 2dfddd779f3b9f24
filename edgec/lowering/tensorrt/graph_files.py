"""Which ONNX files a path names. Nothing that reads them is imported here, so that a path that names none is refused at once."""

from __future__ import annotations

from pathlib import Path

from edgec.errors import RequestError


def graphs_in(path: Path) -> tuple[Path, ...]:
    """The file itself, or the `.onnx` files in an artefact's `model/` or in any other directory.

    Raises `RequestError` if there are none.
    """
    if not path.is_dir():
        require_file(path)
        return (path,)
    folder = path / "model" if (path / "model").is_dir() else path
    graphs = tuple(sorted(folder.glob("*.onnx")))
    if not graphs:
        raise RequestError(
            f"{folder} holds no .onnx file.", remedy="give a file, or an artefact that was built for TensorRT or ONNX Runtime"
        )
    return graphs


def require_file(path: Path) -> None:
    """Raises `RequestError` if there is no such file."""
    if not path.is_file():
        raise RequestError(f"There is no file {path}.", remedy="give the path of an .onnx file, or of an artefact's directory")
