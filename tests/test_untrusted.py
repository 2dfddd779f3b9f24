"""What others wrote is bounded before it is believed: in bytes, in values, in depth and in the size of numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgec.untrusted import Refused, parse_json, parse_json_object, parse_toml, read_bytes

HOSTILE_NUMBERS = [str(10**400), str(2**63), str(-(2**63) - 1), "1e309", "-1e400", "9" * 5000]


@pytest.mark.parametrize("number", [*HOSTILE_NUMBERS, "NaN", "Infinity"])
@pytest.mark.parametrize("place", ["%s", "[%s]", '{"a": [{"b": %s}]}'])
def test_json_refuses_numbers_that_no_type_holds(number: str, place: str) -> None:
    with pytest.raises(Refused):
        parse_json(place % number)


@pytest.mark.parametrize("number", [str(2**63), str(-(2**63) - 1), "1e309", "inf", "nan", "9" * 5000])
@pytest.mark.parametrize("place", ["a = %s", "a = [[%s]]", "[[t]]\nb = { c = %s }"])
def test_toml_refuses_numbers_that_no_type_holds(number: str, place: str) -> None:
    with pytest.raises(Refused):
        parse_toml((place % number).encode())


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0, 1.5, True])
def test_numbers_that_fit_are_kept(value: float) -> None:
    text = str(value).lower()
    assert parse_json(f'{{"a": {text}}}') == {"a": value}
    assert parse_toml(f"a = {text}".encode()) == {"a": value}


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe{", b"", b"{", b'{"a": 1, "a": 2}'])
def test_invalid_json_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        parse_json(data)


@pytest.mark.parametrize(
    "data", [b"a = " + b"[" * 20_000, b"\xff\xfea = 1", b"a = 1\na = 2", b"a =", b"a" + b".a" * 5000 + b" = 1"]
)
def test_invalid_toml_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        parse_toml(data)


def test_many_small_values_are_counted_before_they_are_parsed() -> None:
    with pytest.raises(Refused, match="more values"):
        parse_json(b"[" + b"[]," * 20_000_000 + b"[]]")


def test_a_byte_order_mark_is_no_content() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert parse_toml(b"\xef\xbb\xbfa = 1") == {"a": 1}


def test_a_document_must_be_an_object() -> None:
    with pytest.raises(Refused, match="list"):
        parse_json_object("[]")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(200 * 10**9)
    (tmp_path / "whole").write_bytes(b"four")
    for name in ("pipe", "sparse", "."):
        with pytest.raises(Refused):
            read_bytes(tmp_path / name, 100)
    with pytest.raises(Refused):
        read_bytes(tmp_path / ("n" * 300), 100)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "absent", 100)
    assert read_bytes(tmp_path / "whole", 4) == b"four"
    with pytest.raises(Refused, match="too large"):
        read_bytes(tmp_path / "whole", 3)
