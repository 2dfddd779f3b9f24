"""Sealed JSON documents, which show whether they were changed: the last member is the SHA-256 of every byte before it.

    {
     "schema_version": 2,
     …,
     "seal": "<64 hexadecimal digits>"
    }

After the digest come a quotation mark, a line feed, a brace and a line feed, and nothing else. So any changed byte is noticed,
also in white space; any program that has SHA-256 can write and check a seal. A seal is not a signature: a forger can seal a
document again.
"""

from __future__ import annotations

import hashlib
from typing import Any

NAME = "seal"
_OPENING = f',\n "{NAME}": "'
_CLOSING = '"\n}\n'
_DIGITS = 64


def sealed(document: str) -> str:
    """A document with its seal added. It must be a JSON object that is not empty and has no seal."""
    text = document.rstrip()
    assert text.endswith("}"), "a seal is the last member of an object"
    head = text[:-1].rstrip() + _OPENING
    return head + hashlib.sha256(head.encode("utf-8")).hexdigest() + _CLOSING


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an object, with its version and seal added. A schema cannot check that a seal is right."""
    member = {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "The last member: SHA-256 of the file's bytes before its digits. A quotation mark, a line feed, a brace "
        "and a line feed end the file.",
    }
    required = [*schema["required"], "schema_version", NAME]
    return {**schema, "properties": {**schema["properties"], NAME: member}, "required": required}


def is_whole(data: bytes) -> bool:
    """Whether these are exactly the bytes that `sealed` returned."""
    head = data[: -_DIGITS - len(_CLOSING)]
    ending = f"{hashlib.sha256(head).hexdigest()}{_CLOSING}".encode("ascii")
    return head.endswith(_OPENING.encode("ascii")) and data == head + ending
