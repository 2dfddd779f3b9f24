"""What a stage's result depends on beside its inputs and settings: the source of the modules that compute it and of all that
these import, the data files beside them, and the versions of the packages that they import.

Imports are read from the source, those inside functions too, so that nobody has to keep lists, and none can be forgotten.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_OWN = __name__.partition(".")[0]


def fingerprint(modules: Sequence[str]) -> str:
    """SHA-256, in hex, over all that `modules` (dotted names, edgec's or anybody's) compute by.

    A module of another package stands for that whole package: its files and its version.
    """
    own, packages = _closure(tuple(sorted(set(modules))))
    digest = hashlib.sha256()
    for path in sorted(
        {file for module in own for file in _files(module)} | {file for name in packages for file in _foreign(name)}
    ):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    for package in packages:
        digest.update(f"{package} {version(package)}\n".encode())
    return digest.hexdigest()


def everything(others: Sequence[str] = ()) -> str:
    """The same over all of edgec, its report's pictures and every package that it asks for included, and over `others`' modules:
    what an artefact as a whole depends on."""
    foreign = fingerprint([module for module in others if module.partition(".")[0] != _OWN])
    versions = "".join(f"{name} {number}\n" for name, number in packages().items())
    return hashlib.sha256(f"{source()}\n{foreign}\n{versions}".encode()).hexdigest()


def source() -> str:
    """SHA-256, in hex, over edgec's own files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in _ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    return digest.hexdigest()


@cache
def packages() -> dict[str, str]:
    """The packages that edgec's metadata names, extras' included, and are installed: their versions by name."""
    names = sorted(
        {re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].lower() for line in importlib.metadata.requires(_OWN) or ()}
    )
    return {name: number for name in names if (number := _version(name))}


def _read(path: Path) -> bytes:
    return path.read_bytes()


@cache
def version(package: str) -> str:
    """Of the distribution that brings this top-level package; empty where it is not installed."""
    return next(filter(None, map(_version, _distributions().get(package, [package]))), "")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: sorted(set(found)) for name, found in importlib.metadata.packages_distributions().items()}


@cache
def _closure(modules: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """edgec's modules among these and all that they import, and the packages of others."""
    own: set[str] = set()
    packages: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        package = module.partition(".")[0]
        if package != _OWN:
            if package not in sys.stdlib_module_names:
                packages.add(package)
        elif module not in own:
            own.add(module)
            waiting += _imports(module)
    return frozenset(own), tuple(sorted(packages))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """What a module of edgec's imports, for type checkers alone left out; and the packages that it lies in."""
    above = module.rpartition(".")[0]
    names = [above] if above else []
    path = _path(module)
    package = module if path.name == "__init__.py" else above
    names += _imported(ast.parse(path.read_text(encoding="utf-8")), package)
    return tuple(dict.fromkeys(names))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """`package` is the one that relative imports begin from."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = importlib.util.resolve_name("." * child.level + (child.module or ""), package)
            for name in child.names:
                whole = f"{base}.{name.name}"
                yield whole if base.partition(".")[0] == _OWN and _exists(whole) else base
        yield from _imported(child, package)


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
        *(each for each in sorted(path.parent.iterdir()) if each.is_file() and each.suffix not in (".py", ".pyc", ".typed")),
    )


@cache
def _foreign(package: str) -> tuple[Path, ...]:
    """The sources of a package that is installed for editing or brings no version: its version says nothing of its content."""
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
            said = importlib.metadata.distribution(name).read_text("direct_url.json")
        except importlib.metadata.PackageNotFoundError:
            continue
        if said and '"editable": true' in said:
            return True
    return False
