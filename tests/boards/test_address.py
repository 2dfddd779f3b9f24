"""What may be called a board, and what ssh could take for something else."""

from __future__ import annotations

import pytest

from edgec.boards.address import Address, parse_all
from edgec.errors import RequestError


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("orin", None, "orin", None),
        ("robot@orin.local", "robot", "orin.local", None),
        ("robot@192.168.55.1", "robot", "192.168.55.1", None),
        ("robot@fe80::1%usb0", "robot", "fe80::1%usb0", None),
        ("me@corp@orin", "me@corp", "orin", None),
        ("CORP\\me@orin", "CORP\\me", "orin", None),
        ("ssh://orin", None, "orin", None),
        ("ssh://robot@orin:2222", "robot", "orin", 2222),
        ("ssh://robot@orin:2222/", "robot", "orin", 2222),
        ("ssh://robot@[fe80::1]:2222", "robot", "fe80::1", 2222),
        ("ssh://Robot@OrinOne", "Robot", "OrinOne", None),
    ],
)
def test_boards(text: str, user: str | None, host: str, port: int | None) -> None:
    found = Address.parse(text)
    assert (found.user, found.host, found.port) == (user, host, port)
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=touch x",
        "-v@orin",
        "robot@-oProxyCommand=x",
        "ssh://-oProxyCommand=x",
        "ssh://-l@orin",
        "ssh://robot:secret@orin",
        "ssh://orin/home",
        "ssh://orin:0x16",
        "ssh://orin:99999",
        "ssh://",
        "robot@",
        "@orin",
        "robot orin",
        "robot@orin;reboot",
        "robot@$(reboot)",
        "robot@`reboot`",
        "ro'bot@orin",
        "robot@orin\n",
        "robot@orin\x1b[31m",
        "robot\\@orin",
        "robot@../../etc",
    ],
)
def test_invalid_addresses(text: str) -> None:
    with pytest.raises(RequestError, match="not the address of a board") as caught:
        Address.parse(text)
    assert "\x1b" not in str(caught.value)


def test_a_port_for_addresses_without_one() -> None:
    assert [address.port for address in parse_all(["one", "ssh://two:22"], 2222)] == [2222, 22]


def test_labels_are_valid_file_names() -> None:
    found = parse_all(["robot@orin", "ssh://orin:2222", "fe80::1%usb0"])
    assert [address.label for address in found] == ["orin", "orin-2222", "fe80__1_usb0"]


def test_a_board_that_is_given_twice() -> None:
    with pytest.raises(RequestError, match="given twice"):
        parse_all(["robot@orin", "ssh://orin"])
