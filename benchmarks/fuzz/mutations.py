"""What is done to a good file to make a bad one: to its bytes, to its values, to how its values are written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True)
class Literal:
    """Text that stands in a document as it is, be it valid or not."""

    text: str


WHOLE_NUMBERS = (0, 1, -1, 2, 7, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, -(2**63))
NO_NUMBERS = tuple(
    Literal(text)
    for text in (str(10**400), "-" + "9" * 5000, str(2**63), str(-(2**63) - 1), "1e309", "-1e309", "NaN", "-Infinity", "1e-400")
)
REAL_NUMBERS = (0.0, -0.0, 1.5, -1.5, 1e-320, 5e-324, 1e30, -1e30, 1e300, 1.7976931348623157e308, 0.1, 1 / 3)
TEXTS = (
    "",
    " ",
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "~nosuchuser/x",
    "~",
    ".",
    "..",
    "a/../b",
    "a\\b",
    "n" * 300,
    "n" * 70_000,
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "abc\u202edcba\u2066",
    "one\ntwo\r\nthree",
    "\x00",
    "[bold red]markup[/]",
    "[/]",
    "{0.__class__}",
    "%s%n",
    "<script>alert(1)</script>",
    "\ud800",
    "\ufeff",
    "é\u0301\U0001f916",
    "NaN",
    "1" * 400,
    "-1",
    "1e999",
    "2001-01-01",
    "true",
)
NAMES = ("", "__proto__", "x" * 5000, "a.b", "\x1b[31m", "1", "é")


def bytes_changed(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to six changes: bits, bytes, numbers and whole stretches. `others` are files to take pieces from."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        random.choice(_ON_BYTES)(random, changed, others)
    return bytes(changed)


def value_changed(random: Random, value: Any) -> Any:
    """A copy of a JSON or TOML document with one to four changes to its values, names and form."""
    whole = {"": copy.deepcopy(value)}
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(_places(whole))
        if not places:
            break
        parent, key = random.choice(places)
        random.choice(_ON_VALUES)(random, parent, key)
    return whole.get("")


def json_text(random: Random, value: Any, *, indent: bool = False) -> bytes:
    """The document as JSON; sometimes with a name twice, with deep nesting, or damaged as bytes."""
    text = _json(value, random if random.random() < 0.15 else None, indent)
    return _worn(random, text)


def toml_text(random: Random, table: Any) -> bytes:
    """The document as TOML, whatever in it TOML has a form for; sometimes damaged as bytes."""
    items = table.items() if isinstance(table, dict) else [("value", table)]
    lines = [f"{_toml_name(name)} = {_toml(value)}" for name, value in items]
    if lines and random.random() < 0.1:
        lines.append(random.choice(lines))
    return _worn(random, "\n".join(lines) + "\n")


def hostile(random: Random) -> Any:
    """A value that should not be there."""
    return random.choice(
        (
            lambda: random.choice(WHOLE_NUMBERS),
            lambda: random.choice(NO_NUMBERS),
            lambda: random.choice(REAL_NUMBERS),
            lambda: random.choice(TEXTS),
            lambda: random.choice((None, True, False, [], {}, [[]], [None], {"": None})),
            lambda: _nested(random.choice((10, 500, 3000, 100_000))),
            lambda: [random.choice(WHOLE_NUMBERS)] * random.choice((1, 2, 5, 4000)),
        )
    )()


# --- bytes


def _flip(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(random.choice((1, 1, 8, 64)) if data else 0):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _drop(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, length = _stretch(random, data)
    del data[start : start + length]


def _repeat(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, length = _stretch(random, data)
    data[start:start] = data[start : start + length] * random.choice((1, 1, 2, 100))
    del data[16 << 20 :]


def _insert(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    place = random.randrange(len(data) + 1)
    data[place:place] = random.randbytes(random.choice((1, 4, 64, 5000)))


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    source = random.choice(others) if others else bytes(data)
    start, length = _stretch(random, source)
    place = random.randrange(len(data) + 1)
    data[place : place + length] = source[start : start + length]


def _fill(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, length = _stretch(random, data)
    data[start : start + length] = bytes([random.choice((0, 255, 0x41))]) * min(length, len(data) - start)


def _number(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Lengths, offsets and counts are what readers trust most."""
    width, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    number = random.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, random.getrandbits(20)))
    place = random.choice((random.randrange(len(data) + 1), min(len(data), 8 * random.randrange(8))))
    data[place : place + width] = (number % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]


def _digits(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A number that is written out becomes another."""
    places = [place for place, byte in enumerate(data[: 1 << 16]) if 48 <= byte <= 57]
    if places:
        place = random.choice(places)
        data[place : place + 1] = random.choice((b"-1", b"0", b"9" * 400, b"1e309", b"99999999999", str(2**63).encode()))


def _stretch(random: Random, data: bytes | bytearray) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data) - start, random.choice((1, 4, 16, 256, 4096, len(data))))


_ON_BYTES: tuple[Callable[[Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip, _flip, _flip, _cut, _drop, _repeat, _insert, _splice, _fill, _number, _number, _digits,
)  # fmt: skip

# --- values


def _places(whole: Any) -> Iterator[tuple[Any, Any]]:
    """Every value, as what holds it and under which key."""
    waiting = [whole]
    while waiting:
        holder = waiting.pop()
        keys: Any = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])


def _replace(random: Random, holder: Any, key: Any) -> None:
    holder[key] = hostile(random)


def _nudge(random: Random, holder: Any, key: Any) -> None:
    """The same type, another value."""
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int):
        holder[key] = random.choice((value + 1, value - 1, -value, value * 1000, 0, random.choice(WHOLE_NUMBERS)))
    elif isinstance(value, float):
        holder[key] = random.choice((-value, value * 1e6, value * 1e-6, value + 1, random.choice(REAL_NUMBERS)))
    elif isinstance(value, str):
        holder[key] = random.choice((value[:-1], value + "x", value.upper(), value * 2, value[::-1], random.choice(TEXTS)))
    elif isinstance(value, list):
        holder[key] = random.choice((value[::-1], value[1:], value * 2, value[:1], [value], (value[:3] or [0]) * 20_000))
    elif isinstance(value, dict):
        holder[key] = random.choice((list(value), list(value.values()), {"inner": value}, {}, dict(list(value.items())[1:])))


def _remove(random: Random, holder: Any, key: Any) -> None:
    del holder[key]


def _rename(random: Random, holder: Any, key: Any) -> None:
    if isinstance(holder, dict) and key != "":
        holder[random.choice((*NAMES, f"{key}x", str(key).upper(), random.choice(TEXTS)))] = holder.pop(key)


def _retype(random: Random, holder: Any, key: Any) -> None:
    value = holder[key]
    holder[key] = random.choice((str(value)[:1000], [value], {"value": value}, None, 1 if value else 0, 1.0 if value else 0.0))


def _swap(random: Random, holder: Any, key: Any) -> None:
    other = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


_ON_VALUES: tuple[Callable[[Random, Any, Any], None], ...] = (
    _replace, _replace, _nudge, _nudge, _nudge, _remove, _rename, _retype, _swap,
)  # fmt: skip

# --- writing


def _nested(depth: int) -> Literal:
    return Literal("[" * depth + "]" * depth)


def _worn(random: Random, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.2:
        data = bytes_changed(random, data)
    return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00")) + data if random.random() < 0.05 else data


def _json(value: Any, random: Random | None, indent: bool) -> str:
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, dict):
        pairs = [f"{json.dumps(str(name))}: {_json(each, random, indent)}" for name, each in value.items()]
        if pairs and random is not None and random.random() < 0.3:
            pairs.append(random.choice(pairs))
        return "{" + (",\n " if indent else ", ").join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_json(each, random, indent) for each in value) + "]"
    return json.dumps(value)


def _toml(value: Any) -> str:
    if isinstance(value, Literal):
        return value.text.lower() if value.text in ("NaN", "-Infinity") else value.text
    if isinstance(value, bool) or value is None:
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_name(name)} = {_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return _toml_name(value) if isinstance(value, str) else repr(value)


def _toml_name(text: Any) -> str:
    """As a basic string, which JSON's are but for DEL."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")
