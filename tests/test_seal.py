"""A document that says of itself whether it is as it was written."""

from __future__ import annotations

import hashlib
import json

import pytest

from edgec.onboard.seal import is_whole, sealed

DOCUMENT = '{\n "schema_version": 5,\n "name": "é",\n "seal of": {"seal": "none"}\n}\n'


def test_sealing_keeps_the_document_and_hashes_everything_before_the_seal() -> None:
    data = sealed(DOCUMENT).encode()
    said = json.loads(data)
    digest = said.pop("seal")
    assert said == json.loads(DOCUMENT)
    assert hashlib.sha256(data[: data.rindex(digest.encode())]).hexdigest() == digest
    assert is_whole(data)


def test_every_flipped_bit_is_noticed() -> None:
    data = sealed(DOCUMENT).encode()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            assert not is_whole(bytes(changed)), f"byte {position}, bit {bit}"


@pytest.mark.parametrize("data", [b"", b"{}", b"\n}\n", b'"\n}\n', DOCUMENT.encode(), b"\xff" * 100])
def test_a_document_without_a_seal_is_not_whole(data: bytes) -> None:
    assert not is_whole(data)


def test_added_or_missing_bytes_are_noticed() -> None:
    data = sealed(DOCUMENT).encode()
    assert not any(is_whole(each) for each in (data + b" ", b" " + data, data[:-1], data[1:], data.replace(b"\n", b"\r\n")))
