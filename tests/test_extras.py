"""What an installation needs is what `pyproject.toml` says, and a package that is missing names the extra that brings it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import edgec
from edgec import extras
from edgec.errors import MissingPackage, TargetError
from edgec.extras import EXTRAS
from tests.test_imports import Import, imports, modules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(edgec.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "cuda": "cuda-bindings",
    "cyclonedx": "cyclonedx-python-lib",
    "google": "protobuf",
    "ml_dtypes": "ml-dtypes",
    "model_signing": "model-signing",
    "onnx_ir": "onnx-ir",
    "tensorrt_rtx_bindings": "tensorrt-rtx-cu12-bindings",
    "vl_convert": "vl-convert-python",
    "yaml": "pyyaml",
}
"""By the name that is imported, where a distribution has another."""
NOT_IMPORTED = {"tensorrt-rtx-cu12-libs"}
"""What a package of an extra loads itself."""
SMALL = (
    *("verify", "running", "bench", "compare", "report", "deploy", "doctor", "targets", "explain", "calibration", "schema"),
    *("keygen", "bundle"),
)
"""The modules of commands that work without any extra but a runtime; each says by itself which one a further option needs."""
ROOTS = (
    *("edgec.cli", "edgec.api", "edgec.latency.worker", "edgec.latency.profile_worker"),
    *(f"edgec.cli.{name}" for name in SMALL),
    *(re.split("[:]", point)[0] for group in PROJECT["entry-points"].values() for point in group.values()),
)


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].lower() for line in requirements}


@cache
def base() -> set[str]:
    return names(PROJECT["dependencies"])


def distribution(package: str) -> str:
    return DISTRIBUTIONS.get(package, package).lower()


def foreign(target: str) -> str:
    """The package, if it is neither edgec's nor Python's own."""
    package = target.partition(".")[0]
    return "" if package == "edgec" or package in sys.stdlib_module_names else package


@cache
def on_import() -> dict[str, tuple[Import, ...]]:
    """By module, the imports that importing it makes."""
    return {
        name: tuple(each for each in imports() if each.module == name and not each.late and not each.typing) for name in modules()
    }


def reached(root: str) -> Iterator[tuple[str, str]]:
    """Every package that importing the module imports, and the module that does."""
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if module in seen or module not in modules():
            continue
        seen.add(module)
        parts = module.split(".")
        waiting += [".".join(parts[:count]) for count in range(1, len(parts))]
        for each in on_import()[module]:
            if package := foreign(each.target):
                yield package, module
            else:
                waiting.append(each.target)


def behind(root: str) -> list[str]:
    """The module and, of a command, what it imports when it runs. A runtime's or a family's module imports late what building
    needs."""
    if not root.startswith(("edgec.cli", "edgec.latency")):
        return [root]
    return [root, *(each.target for each in imports() if each.module == root and each.late and each.target in modules())]


# --- what is reached


def test_the_small_install_is_small() -> None:
    assert not base() & {"torch", "onnx", "onnx-ir", "onnxscript", "openvino", "pillow", "matplotlib", "altair"}
    assert len(base()) <= 11


@pytest.mark.parametrize("root", ROOTS)
def test_importing_what_the_small_install_runs_needs_nothing_else(root: str) -> None:
    """Neither the command's module nor one that it imports when it runs. What those import later still, they import through
    `named`, which says what is missing."""
    assert root in modules()
    found = {(package, by) for module in behind(root) for package, by in reached(module)}
    known = {each for each in found if distribution(each[0]) in base()}
    beyond = {by for package, by in found - known}
    assert not beyond, f"{root} imports {sorted(found - known)}"


def test_every_package_is_of_the_base_or_of_an_extra_that_names_it() -> None:
    """So that `named` knows whatever is imported anywhere."""
    listed = {package for extra in EXTRAS.values() for package in extra.packages}
    for each in imports():
        package = foreign(each.target)
        if package and not each.typing:
            assert distribution(package) in base() or package in listed, each


def test_no_other_module_looks_whether_a_package_is_there() -> None:
    for name in modules():
        if name in ("edgec.extras", "edgec.dependencies"):
            continue
        path = PACKAGE.parent.joinpath(*name.split("."))
        source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
        found = re.findall(r"find_spec|except \(?(?:ImportError|ModuleNotFoundError)", source)
        assert not found, f"{name}: {found}; use edgec.extras"


# --- the table is pyproject's


@pytest.mark.parametrize("name", EXTRAS)
def test_extras_bring_what_pyproject_says(name: str) -> None:
    lines = PROJECT["optional-dependencies"][name]
    included = {each.strip() for line in lines for group in re.findall(r"^edgec\[(.*?)\]", line) for each in group.split(",")}
    own = names([line for line in lines if not line.startswith("edgec[")]) - NOT_IMPORTED
    extra = EXTRAS[name]
    # `build` lists onnxruntime as its own, so that one line says all that it needs.
    packages = {distribution(package) for package in extra.packages}
    assert own <= packages
    assert packages - own <= {distribution(each) for each in included}
    assert set(extra.includes) <= included


def test_users_extras_are_all_listed() -> None:
    assert set(PROJECT["optional-dependencies"]) - set(EXTRAS) == {"test", "docs", "examples", "bench"}


# --- what is said


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if PyAV and ONNX Runtime were not installed."""
    for package in ("av", "onnxruntime"):
        for module in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.usefixtures("without")
def test_require_names_what_is_missing_and_the_line() -> None:
    with pytest.raises(MissingPackage) as caught:
        extras.require("build", "Building an artefact")
    assert caught.value.what == "Building an artefact needs a package that is not installed."
    assert caught.value.evidence == ("missing: ONNX Runtime",)
    assert caught.value.remedy == "pip install 'edgec[build]'"
    assert caught.value.exit_code == TargetError.exit_code == 5
    extras.require("pictures", "Drawing")


@pytest.mark.usefixtures("without")
def test_any_import_of_a_missing_package_names_its_extra() -> None:
    with pytest.raises(MissingPackage, match="PyAV is needed here and is not installed") as caught, extras.named():
        import av  # noqa: F401
    assert caught.value.remedy == "pip install 'edgec[video]'"
    with pytest.raises(MissingPackage) as caught:
        extras.load("onnxruntime")
    assert caught.value.remedy == "pip install 'edgec[onnxruntime]'"


def test_other_errors_of_imports_stay_what_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extras.named():
        import no_such_module  # noqa: F401
    with pytest.raises(ImportError, match="no_such_name") as caught, extras.named():
        from onnx import no_such_name  # type: ignore[attr-defined] # noqa: F401
    assert not isinstance(caught.value, MissingPackage)


def test_what_is_imported_later_is_the_module() -> None:
    from PIL import Image

    assert extras.later("PIL.Image").new is Image.new
    with pytest.raises(AttributeError):
        _ = extras.later("PIL.Image").no_such_name


def test_what_is_installed_and_does_not_load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that raises, one that ends the process, one that writes to standard output, and one that is fine."""
    (tmp_path / "edgec_broken.py").write_text("raise OSError('libfoo.so.1: cannot open\\nshared object file')")
    (tmp_path / "edgec_loud.py").write_text("print('hello\\tworld')")
    (tmp_path / "edgec_fatal.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert extras.failing(["edgec_broken", "edgec_loud", "json", "edgec_nowhere", "edgec_fatal"]) == {
        "edgec_broken": "OSError: libfoo.so.1: cannot open shared object file",
        "edgec_fatal": "the process ended with 7 while it was imported",
    }
