"""Reading what somebody else may have written: files, boards, other programs. Everything here is bounded.

A file is read up to a limit, and only if it is a regular one. JSON and TOML are refused where they hold a number that no 64-bit
type holds, NaN or infinity, a name twice in one object, or more values than any file of edgec's or of a model's. All refusals
are `Refused`, a `ValueError` whose text ends the sentence "it …": the caller, who knows what the file was to be, makes an
`EdgecError` of it.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

TEXT_LIMIT = 1 << 20
"""Bytes of a file that a person writes by hand: TOML, lists of paths, licences."""
MOST_VALUES = 2_000_000
"""Values in one JSON document. A report of an hour at 60 frames a second has some 900,000."""
_LEAST_INTEGER, _MOST_INTEGER = -(2**63), 2**63 - 1
_EXPONENT = re.compile(r"[-+]?\d+[eE][-+]?\d{1,3}")
_DIGITS = 32
"""Characters of a whole number that are looked at. 64 bits need twenty."""


class Refused(ValueError):
    """What is wrong with the content, as the end of a sentence: "is nested too deeply"."""


def printable(text: str) -> str:
    """Text from outside on one line, without what could steer a terminal or hide: marks of direction, what has no width."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(text.split()))


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole of a regular file of at most `limit` bytes.

    Raises `FileNotFoundError` if there is none, `Refused` if it is not a regular file, is larger, or cannot be read. Devices and
    pipes are never waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1) if status.st_size <= limit else None
        finally:
            os.close(descriptor)
    except (FileNotFoundError, Refused):
        raise
    except (OSError, ValueError) as error:
        raise Refused(f"cannot be read: {error}") from error
    if content is None or len(content) > limit:
        raise Refused(f"is too large: {status.st_size:,} bytes, and {limit:,} is the most")
    return content


def is_file(path: Path) -> bool:
    """Whether there is a regular file. A name that the system refuses, too long or with a zero in it, has none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def complaint(problem: Mapping[str, Any]) -> str:
    """Of one of pydantic's `ValidationError.errors()`: what our own validator said, or pydantic's words."""
    return str(problem["ctx"]["error"] if problem["type"] == "value_error" else problem["msg"])


def is_folder(path: Path) -> bool:
    """As `is_file`, of a directory."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def parse_json(data: bytes | str, *, most_values: int = MOST_VALUES) -> Any:
    """Strict JSON in UTF-8, with or without a byte order mark. Whole numbers fit into 64 bits, others are finite.

    Raises `Refused`.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    # One of these stands before each value but the first. Those inside strings count too, which the limit leaves room for.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > most_values:
        raise Refused(f"holds more values than any such file: over {most_values:,}")
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_once_each)
    except Refused:
        raise
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"is not whole JSON: {error}") from None


def parse_json_object(data: bytes | str, *, most_values: int = MOST_VALUES) -> dict[str, Any]:
    """As `parse_json`, for a document that must be an object."""
    value = parse_json(data, most_values=most_values)
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not an object")
    return value


def parse_toml(data: bytes) -> dict[str, Any]:
    """TOML in UTF-8, with or without a byte order mark (Windows' editors write one). Numbers are bounded as in `parse_json`.

    Raises `Refused`, with line and column where the parser tells them.
    """
    try:
        table: dict[str, Any] = tomllib.loads(data.decode("utf-8-sig"))
        _check_numbers(table)
    except Refused:
        raise
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Refused(f"is not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:  # TOMLDecodeError is one; so is what int() says of thousands of digits
        raise Refused(f"is not valid TOML: {error}") from None
    return table


def parse_yaml(data: bytes) -> dict[str, Any]:
    """A YAML mapping of plain values in UTF-8: no tags, no aliases (a few lines of them are gigabytes), bounded numbers.
    A text such as 1e-5 is a number, which it is for everybody but YAML 1.1.

    Raises `Refused`.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=loader)):
            raise Refused("uses aliases")
        value = _numbers(yaml.load(data.decode("utf-8-sig"), Loader=loader))  # noqa: S506 (it is one of the safe ones)
        _check_numbers(value)
    except Refused:
        raise
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Refused(f"is not valid YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not a mapping")
    return value


def parse_python(text: str) -> dict[str, Any]:
    """Python that is nothing but values under names, as OpenMMLab writes its configurations, or one literal dictionary. It is
    parsed and not run: what is no literal, list, tuple, dictionary or `dict(…)` of such is None.

    Raises `Refused`.
    """
    if len(text) > TEXT_LIMIT // 4:
        raise Refused(f"is too large: {len(text):,} characters")
    try:
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
    except Refused:
        raise
    except (RecursionError, MemoryError):
        raise Refused("is nested too deeply") from None
    except (SyntaxError, ValueError) as error:
        raise Refused(f"is not Python: {error}") from None
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not a dictionary")
    return value


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, (bool, int, float, str)) else None
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(each) for each in node.elts]
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
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise Refused(f"holds a whole number of {len(text):,} digits")
    value = int(text)
    _check_whole(value)
    return value


def _check_whole(value: int) -> None:
    if not _LEAST_INTEGER <= value <= _MOST_INTEGER:
        raise Refused("holds a whole number that does not fit into 64 bits")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refused(f"holds a number that is too large: {text[:_DIGITS]}")
    return value


def _no_constant(literal: str) -> NoReturn:
    raise Refused(f"is not whole JSON: {literal} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two equal names they believe."""
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Refused(f"has {ascii(twice)[:80]} twice in one object")
    return table


def _check_numbers(value: Any, place: str = "") -> None:
    inner: Iterable[tuple[Any, Any]] = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, each in inner:
        _check_numbers(each, f"{place}.{name}" if place else ascii(name).strip("'"))
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"holds a number that is not finite: {place} = {value}")
    if isinstance(value, int):
        _check_whole(value)
