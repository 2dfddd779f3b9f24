"""Reading input that is not trusted: files, and what boards and other programs send. Everything here has limits.

`edgec.onboard.untrusted` reads files and JSON, on boards too. Here are the formats that people write (TOML, YAML and Python),
under the same rules.
"""

from __future__ import annotations

import ast
import math
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgec.onboard.untrusted import MOST_VALUES as MOST_VALUES
from edgec.onboard.untrusted import Refused as Refused
from edgec.onboard.untrusted import check_whole
from edgec.onboard.untrusted import parse_json as parse_json
from edgec.onboard.untrusted import parse_json_object as parse_json_object
from edgec.onboard.untrusted import printable as printable
from edgec.onboard.untrusted import read_bytes as read_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

TEXT_LIMIT = 1 << 20
"""Bytes of a file that a person writes by hand: TOML, lists of paths, licences."""
_EXPONENT = re.compile(r"[-+]?\d+[eE][-+]?\d{1,3}")


def is_file(path: Path) -> bool:
    """Whether a regular file is there. False for a name that the system refuses: too long, or with a NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def complaint(problem: Mapping[str, Any]) -> str:
    """The message of one of pydantic's `ValidationError.errors()`: that of our own validator, or pydantic's."""
    return str(problem["ctx"]["error"] if problem["type"] == "value_error" else problem["msg"])


def is_folder(path: Path) -> bool:
    """As `is_file`, for a directory."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def parse_toml(data: bytes) -> dict[str, Any]:
    """TOML in UTF-8, with or without a byte order mark (Windows' editors write one). Numbers are limited as in `parse_json`.

    Raises `Refused`, with line and column if the parser gives them.
    """
    with _parsing("valid TOML"):
        table: dict[str, Any] = tomllib.loads(data.decode("utf-8-sig"))
        _check_numbers(table)
    return table


def parse_yaml(data: bytes) -> dict[str, Any]:
    """A YAML mapping of plain values in UTF-8: no tags, no aliases (a few lines of them can mean gigabytes), limited numbers. A
    text such as 1e-5 is a number, although YAML 1.1 calls it a string.

    Raises `Refused`.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    with _parsing("valid YAML", yaml.YAMLError):
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=loader)):
            raise Refused("uses aliases")
        value = _numbers(yaml.load(data.decode("utf-8-sig"), Loader=loader))  # noqa: S506 (it is one of the safe ones)
        _check_numbers(value)
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not a mapping")
    return value


def parse_python(text: str) -> dict[str, Any]:
    """A Python file that only assigns values to names, as OpenMMLab writes its configurations, or one literal dictionary. It is
    parsed, not run: anything but literals, lists, tuples, dictionaries and `dict(…)` of these becomes None.

    Raises `Refused`.
    """
    if len(text) > TEXT_LIMIT // 4:
        raise Refused(f"is too large: {len(text):,} characters")
    with _parsing("Python", SyntaxError):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text.strip()).body
        value: Any = {
            target.id: _literal(line.value)
            for line in body
            if isinstance(line, ast.Assign)
            for target in line.targets
            if isinstance(target, ast.Name)
        }
        if len(body) == 1 and isinstance(body[0], ast.Expr):
            value = _literal(body[0].value)
        _check_numbers(value)
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not a dictionary")
    return value


@contextmanager
def _parsing(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Around a parser: raises `Refused` for everything that it raises, its own `errors` included."""
    refused: tuple[type[Exception], ...] = (ValueError, *errors)  # TOMLDecodeError is a ValueError; so is int()'s of many digits
    try:
        yield
    except Refused:
        raise
    except (RecursionError, MemoryError):
        raise Refused("is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Refused(f"is not UTF-8: {error.reason} at byte {error.start}") from None
    except refused as error:
        raise Refused(f"is not {what}: {' '.join(str(error).split())[:200]}") from None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, (bool, int, float, str)) else None
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(element) for element in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_literal(key) if key is not None else None for key in node.keys]
        return {key: _literal(value) for key, value in zip(keys, node.values, strict=True) if isinstance(key, str)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg is not None}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand)
        return -inner if isinstance(inner, (int, float)) else None
    return None


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _check_numbers(value: Any, path: str = "") -> None:
    inner: Iterable[tuple[Any, Any]] = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, item in inner:
        _check_numbers(item, f"{path}.{name}" if path else ascii(name).strip("'"))
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"holds a number that is not finite: {path} = {value}")
    if isinstance(value, int):
        check_whole(value)
