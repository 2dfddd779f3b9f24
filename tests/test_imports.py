"""Imports go one way, SDKs are imported on use, and what others may import is pinned."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import edgec
from tests.support.commands import python

PACKAGE = Path(edgec.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "records": {"errors", "onboard", "untrusted", ""},
    "onboard": set(),
    "errors": set(),
    "untrusted": {"onboard"},
    "progress": set(),
    "durable": {"onboard"},
    "batches": set(),
    "host": {"records", "onboard", "errors", ""},
    "model": {"errors"},
}
"""Of rooms that everybody may import, the rooms that they may import themselves; `""` is the package's own module."""

SDKS: dict[str, set[str]] = {
    "torch": {
        "edgec.model",
        "edgec.checkpoint",
        "edgec.heads.exporting",
        "edgec.heads.kinds",
        "edgec.heads.reference",
        "edgec.heads.weights",
        "edgec.graph.export",
        "edgec.fidelity.reference",
    },
    "onnx": {"edgec.graph", "edgec.heads", "edgec.lowering"},
    "onnx_ir": {"edgec.graph", "edgec.heads", "edgec.precision", "edgec.lowering", "edgec.stages", "edgec.backends"},
    "onnxruntime": {"edgec.lowering.onnxruntime", "edgec.graph.session"},
    "openvino": {"edgec.lowering"},
    "safetensors": set(),
    "google": {"edgec.lowering.coreml.evaluator"},
    "click": {"edgec.cli"},
    # Beside the command line: tables that are made where their columns are defined.
    "rich": {"edgec.cli", "edgec.report.table", "edgec.report.explaining", "edgec.report.breakdown"},
    "PIL": {"edgec.frames", "edgec.report", "edgec.running"},
    "av": {"edgec.frames.video", "edgec.frames.yuv", "edgec.running"},
    "rosbags": {"edgec.frames.bags"},
    "altair": {"edgec.report.html"},
    "vl_convert": {"edgec.report.html"},
    "jinja2": {"edgec.report.html", "edgec.code.rendering"},
    "distributed": {"edgec.sweep"},
    "matplotlib": {"edgec.report"},
    "transformers": {"edgec.checkpoint.author"},
    "timm": {"edgec.checkpoint.author"},
    "nncf": set(),
}
"""By package, the modules or rooms that may import it."""

LATE = {
    *("onnxruntime", "openvino", "tensorrt", "coremltools", "transformers", "safetensors"),
    *("matplotlib", "PIL", "av", "rosbags", "altair", "vl_convert", "jinja2", "distributed"),
}
"""Imported inside functions only: a missing one harms nobody else."""


@dataclass(frozen=True)
class Import:
    """`late` is inside a function; `typing` is for type checkers alone."""

    module: str
    target: str
    late: bool
    typing: bool


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@cache
def imports() -> tuple[Import, ...]:
    def walk(module: str, node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            checked = typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                yield from (Import(module, name.name, late, typing) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.module is not None
                if child.level:
                    # It has another name on a board.
                    assert (room(module), child.level) == ("onboard", 1), f"{module} imports relatively"
                    child.module = f"edgec.onboard.{child.module}"
                for name in child.names:
                    assert name.name != "*", f"{module} imports everything of {child.module}"
                    whole = f"{child.module}.{name.name}"
                    yield Import(module, whole if whole in modules() else child.module, late, typing)
            yield from walk(module, child, inside, checked)

    return tuple(each for module, tree in modules().items() for each in walk(module, tree, False, False))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def test_the_walk_sees_the_imports() -> None:
    """What the tests below rest on."""
    assert Import("edgec.cli.build", "edgec.building", True, False) in imports()
    assert Import("edgec.lowering.base", "onnx_ir", False, True) in imports()
    assert Import("edgec.model.vit", "torch", False, False) in imports()
    assert len(modules()) > 60


@cache
def rooms() -> dict[str, set[str]]:
    """By room, those that its modules import: late and for type checkers too."""
    graph: dict[str, set[str]] = {room(module): set() for module in modules()}
    for each in imports():
        here, there = room(each.module), room(each.target)
        if each.target.split(".")[0] == "edgec" and here != there:
            graph[here].add(there)
    return graph


def test_rooms_do_not_import_each_other_in_cycles() -> None:
    graph = {name: others - {""} for name, others in rooms().items() if name}
    order = list(TopologicalSorter(graph).static_order())  # a ring is a CycleError, which names the rooms in it
    assert order.index("records") < order.index("report") < order.index("cli")


@pytest.mark.parametrize("name", ["checkpoint"])
def test_no_folders_within_a_room_form_a_ring(name: str) -> None:
    """Modules beside the folders count each by itself; the room's `__init__` may import all."""
    graph: dict[str, set[str]] = defaultdict(set)
    for each in imports():
        here, there = ((*path.split("."), "", "")[:3] for path in (each.module, each.target))
        if here[:2] == there[:2] == ("edgec", name) and here[2] != there[2] and here[2]:
            graph[here[2]].add(there[2])
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("containers") < order.index("reader")


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_rooms_that_all_may_import_import_little(name: str) -> None:
    assert rooms()[name] <= MAY_IMPORT[name]


def test_only_main_imports_the_command_line() -> None:
    assert {name for name, others in rooms().items() if "cli" in others} == {"__main__"}


def test_modules_do_not_import_each_other_in_cycles() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for each in imports():
        if each.target in modules() and not each.late and not each.typing:
            graph[each.module].add(each.target)
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("edgec.errors") < order.index("edgec.building")


@pytest.mark.parametrize("package", SDKS)
def test_packages_are_imported_in_their_places_only(package: str) -> None:
    for each in imports():
        if each.target.split(".")[0] == package and not each.typing:
            assert within(each.module, SDKS[package]), each


def test_sdks_are_imported_on_use() -> None:
    for each in imports():
        if each.target.split(".")[0] in LATE:
            assert each.late or each.typing, each


def test_only_declared_packages_are_imported() -> None:
    """Everything that is imported outside functions is of the base dependencies or of the compiler's. Which modules may import
    the latter's is in `tests/test_extras.py`."""
    import re

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["build"]]
    names = {re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].lower() for line in lines}
    spelt = {"pil": "pillow", "ml_dtypes": "ml-dtypes", "onnx_ir": "onnx-ir", "google": "protobuf"}
    for each in imports():
        package = each.target.split(".")[0]
        if package not in ("edgec", *sys.stdlib_module_names) and not each.late and not each.typing:
            assert spelt.get(package.lower(), package.lower()) in names, each


LOADED = """
import contextlib, io, json, sys
{code}
heavy = {{"torch", "onnx", "onnxscript", "transformers", "safetensors", "openvino", "onnxruntime", "matplotlib", "PIL", "av"}}
heavy |= {{"altair", "distributed", "onnx_ir"}}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""
QUIETLY = "from edgec.cli import run\nwith contextlib.redirect_stdout(io.StringIO()):\n    assert run({arguments!r}) == 0"
REFUSED = "from edgec.cli import run\nwith contextlib.redirect_stderr(io.StringIO()):\n    assert run({arguments!r}) in (2, 3, 8)"
NOWHERE = [
    *(["check", "nothing"], ["explain", "nothing"], ["inspect", "nothing.pth"], ["build", "nothing.pth"], ["verify", "nothing"]),
    *(["bench", "nothing"], ["compare", "nothing", "nothing"], ["report", "nothing"], ["sweep", "nothing"]),
]
"""Commands about a path that names nothing, which they refuse before they load what would read it."""
RUNTIMES = ["onnxruntime", "openvino"]


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import edgec", []),
        ("import edgec.cli", []),
        ("import edgec.errors, edgec.model.spec, edgec.backends.profiles, edgec.records.consistency", []),
        ("import edgec.verifying, edgec.lowering.registry; edgec.lowering.registry.all_lowerings()", []),
        ("import edgec.latency.worker, edgec.latency.measure", []),
        ("import edgec.checkpoint, edgec.cache", []),
        (QUIETLY.format(arguments=["--help"]), []),
        (QUIETLY.format(arguments=["build", "--help"]), []),
        (QUIETLY.format(arguments=["verify", "--help"]), []),
        (QUIETLY.format(arguments=["run", "--help"]), []),
        *((REFUSED.format(arguments=arguments), ["PIL"]) for arguments in NOWHERE),
        (QUIETLY.format(arguments=["targets", "list"]), RUNTIMES),
        (QUIETLY.format(arguments=["targets", "show", "cpu"]), RUNTIMES),
    ],
    ids=[
        *("edgec", "cli", "small", "verify", "worker", "checkpoint"),
        *("--help", "build --help", "verify --help", "run --help"),
        *(f"{arguments[0]} of nothing" for arguments in NOWHERE),
        *("list", "show"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, allowed: list[str], tmp_path: Path) -> None:
    """Listing targets asks the runtimes for their versions, and they are the heaviest that it may load."""
    done = python(LOADED.format(code=code), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) <= set(allowed)


def test_onnxruntime_writes_no_telemetry(tmp_path: Path) -> None:
    """Version 1.32 writes a device identifier into the user's cache folder when it is imported, unless it is told not to."""
    done = python(
        "from edgec.lowering import registry\nassert registry.get('onnxruntime').availability().available",
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(tmp_path.rglob("*")) == []


# --- what others import


def test_the_public_surface_of_checkpoints() -> None:
    from edgec import checkpoint

    assert sorted(checkpoint.__all__) == [
        "Checkpoint",
        "Finding",
        "Form",
        "Identity",
        "Licence",
        "Normalisation",
        "identify",
        "read",
    ]
    config = "config: 'str | None' = None"
    assert str(inspect.signature(checkpoint.read)) == (
        f"(reference: 'str', *, seed: 'int' = 0, weights: 'str | None' = None, {config}) -> 'Checkpoint'"
    )
    assert str(inspect.signature(checkpoint.identify)) == f"(reference: 'str', *, seed: 'int' = 0, {config}) -> 'Identity'"


def test_the_public_surface_of_frames() -> None:
    from edgec import frames

    types = ["Crop", "Frame", "FrameSet", "Origin", "Pixels", "Reading", "Side", "Skipped", "Split"]
    assert sorted(frames.__all__) == [*types, "batches", "fit", "load", "require_use", "shipped", "split"]
    assert list(inspect.signature(frames.load).parameters) == ["reference", "most", "reading"]


def test_the_public_surface_of_builds() -> None:
    from edgec.building import BuildResult, build
    from edgec.request import BuildRequest

    assert list(inspect.signature(build).parameters) == ["request", "progress"]
    assert [field.name for field in fields(BuildResult)] == ["directory", "manifest", "report", "reused"]
    names = [field.name for field in fields(BuildRequest)]
    assert names[0] == "checkpoint"
    assert set(names) >= {
        *("target", "calibration", "validation", "reading", "size", "batch", "precision", "min_fidelity", "registers", "layers"),
        *("output", "force", "threads", "iterations", "calibration_frames", "seed"),
    }
    assert BuildRequest("demo") == BuildRequest(checkpoint="demo")


def test_exported_names_exist() -> None:
    from edgec import checkpoint, frames

    for package in (checkpoint, frames):
        for name in package.__all__:
            assert getattr(package, name) is not None
