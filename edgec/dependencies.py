"""What a stage's result depends on besides its inputs and settings: the source of the modules that compute it and of all that
they import, the data files beside them, and the versions of the packages that they import.

Imports are read from the source, also those inside functions, so that there are no lists to keep and nothing is forgotten.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_NAME = __name__.partition(".")[0]
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of syntax trees that hold statements, or what holds statements."""


def fingerprint(modules: Sequence[str]) -> str:
    """SHA-256, in hex, over all that `modules` (dotted names, edgec's or other packages') depend on.

    A module of another package stands for that whole package: its files and its version.
    """
    internal, packages = _closure(tuple(sorted(set(modules))))
    digest = hashlib.sha256()
    for path in sorted(
        {file for module in internal for file in _files(module)} | {file for name in packages for file in _foreign(name)}
    ):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    for package in packages:
        digest.update(f"{package} {version(package)}\n".encode())
    return digest.hexdigest()


def everything(modules: Sequence[str]) -> str:
    """SHA-256, in hex, over all of edgec's files, the versions of the packages that `modules` import, and those of `modules` that
    are other packages': what an artefact as a whole depends on."""
    foreign = fingerprint([module for module in modules if module.partition(".")[0] != _NAME])
    versions = "".join(f"{name} {number}\n" for name, number in imported(modules).items())
    return hashlib.sha256(f"{source()}\n{foreign}\n{versions}".encode()).hexdigest()


def imported(modules: Sequence[str]) -> dict[str, str]:
    """Versions by name of the packages that these modules import, or edgec's modules that they import; empty for a package that
    is not installed."""
    return {package: version(package) for package in _closure(tuple(sorted(set(modules))))[1]}


def source() -> str:
    """SHA-256, in hex, over edgec's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in _ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    return path.read_bytes()


@cache
def version(package: str) -> str:
    """The version of the distribution that provides this top-level package; empty if it is not installed."""
    return next(filter(None, map(_version, _distributions().get(package, [package]))), "")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _distributions() -> dict[str, list[str]]:
    return {package: sorted(set(names)) for package, names in importlib.metadata.packages_distributions().items()}


@cache
def _closure(modules: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """edgec's modules among these with all that they import, and the other packages that are imported."""
    internal: set[str] = set()
    packages: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        package = module.partition(".")[0]
        if package != _NAME:
            if package not in sys.stdlib_module_names:
                packages.add(package)
        elif module not in internal:
            internal.add(module)
            waiting += _imports(module)
    return frozenset(internal), tuple(sorted(packages))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """What one of edgec's modules imports, except for type checkers, and the package that it is in."""
    above = module.rpartition(".")[0]
    names = [above] if above else []
    path = _path(module)
    package = module if path.name == "__init__.py" else above
    names += _imported(ast.parse(path.read_text(encoding="utf-8")), package)
    return tuple(dict.fromkeys(names))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """`package` is the one that relative imports start from. Imports are statements, and only statements hold statements. Of
    expressions, of which there are twenty times as many, only assigned ones are looked into: for calls of `edgec.extras.later`.
    """
    for statement in (child for name in _BLOCKS for child in getattr(tree, name, ())):
        yield from _imported_by(statement, package)


def _imported_by(statement: ast.AST, package: str) -> Iterator[str]:
    if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
        for branch in statement.orelse:
            yield from _imported_by(branch, package)
        return
    if isinstance(statement, ast.Assign):
        for call in ast.walk(statement.value):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "later":
                yield from (name.value for name in call.args if isinstance(name, ast.Constant) and isinstance(name.value, str))
    elif isinstance(statement, ast.Import):
        yield from (name.name for name in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        base = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
        for name in statement.names:
            whole = f"{base}.{name.name}"
            yield whole if base.partition(".")[0] == _NAME and _exists(whole) else base
    yield from _imported(statement, package)


def _exists(module: str) -> bool:
    folder = _ROOT.joinpath(*module.split(".")[1:])
    return folder.with_suffix(".py").is_file() or (folder / "__init__.py").is_file()


def _path(module: str) -> Path:
    folder = _ROOT.joinpath(*module.split(".")[1:])
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@cache
def _files(module: str) -> tuple[Path, ...]:
    """A module's source and the data beside it."""
    path = _path(module)
    return (
        path,
        *(data for data in sorted(path.parent.iterdir()) if data.is_file() and data.suffix not in (".py", ".pyc", ".typed")),
    )


@cache
def _foreign(package: str) -> tuple[Path, ...]:
    """The sources of a package that is installed in editable mode or has no version: no version then stands for its content."""
    if version(package) and not _editable(package):
        return ()
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return ()
    origin = Path(spec.origin)
    return tuple(sorted(origin.parent.rglob("*.py"))) if spec.submodule_search_locations else (origin,)


def _editable(package: str) -> bool:
    for name in _distributions().get(package, ()):
        try:
            origin = importlib.metadata.distribution(name).read_text("direct_url.json")
        except importlib.metadata.PackageNotFoundError:
            continue
        if origin and '"editable": true' in origin:
            return True
    return False
