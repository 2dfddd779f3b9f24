"""FLEET.toml and waves: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.errors import RequestError
from edgec.fleet.file import Fleet, json_schema, read_fleet
from edgec.fleet.waves import Waves

WHOLE = """
name = "warehouse"
port = 2222
dir = "/data/edgec"
identity = "key"
ssh_options = ["ConnectTimeout=5"]
wheels = "wheels"
keep = 2

[[boards]]
address = "robot@r1"
name = "first"
tags = ["north", "old"]

[[boards]]
address = "ssh://robot@r2:22"
dir = "/other"
ssh_options = ["ConnectTimeout=50"]
"""


def test_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    path = tmp_path / "FLEET.toml"
    path.write_text(WHOLE)
    opened = read_fleet(path)
    first, second = opened.places
    assert (first.name, first.address.port, first.directory) == ("first", 2222, "/data/edgec")
    assert first.options.identity == tmp_path / "key"
    assert (second.name, second.address.port, second.directory) == ("ssh://robot@r2:22", 22, "/other")
    assert second.options.options == ("ConnectTimeout=50", "ConnectTimeout=5"), "ssh takes the first"
    assert opened.wheels == tmp_path / "wheels"
    assert opened.chosen([], ["old"]) == [first]
    assert opened.chosen(["robot@r1", "ssh://robot@r2:22"], []) == [first, second]


def test_addresses_alone(tmp_path: Path) -> None:
    path = tmp_path / "FLEET.toml"
    path.write_text('name = "two"\nboards = ["robot@r1", { address = "robot@r2", tags = ["x"] }]\n')
    opened = read_fleet(path)
    assert [place.name for place in opened.places] == ["robot@r1", "robot@r2"]
    assert (opened.fleet.wave, opened.fleet.halt_at) == ("1,10%,100%", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = [", "is not valid TOML"),
        ('name = "x"', "boards: Field required"),
        ('name = "x"\nboards = []', "at least 1 item"),
        ('name = "x y"\nboards = ["r1"]', "name: String should match"),
        ('name = "x"\nboards = ["r1", "r1"]', "r1 is given twice"),
        ('name = "x"\nboards = ["r1", {address = "r1", name = "other"}]', "is given twice"),
        ('name = "x"\nboards = ["-oProxyCommand=x"]', "is not the address of a board"),
        ('name = "x"\nboards = ["r1"]\nspeed = 3', "speed: Extra inputs"),
        ('name = "x"\nboards = ["r1"]\nidentity = "nowhere"', "a private key that is not there"),
        ('name = "x"\nboards = ["r1"]\nssh_options = ["x"]', "is not an option of ssh"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "FLEET.toml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        read_fleet(path)
    assert words in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no fleet"):
        read_fleet(tmp_path / "FLEET.toml")


def test_the_schema_has_every_key() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Fleet.model_fields)
    assert {"type": "string"} in schema["properties"]["boards"]["items"]["anyOf"]


@pytest.mark.parametrize(
    ("text", "boards", "targets"),
    [
        ("1,10%,100%", 50, [1, 5, 50]),
        ("1,10%,100%", 3, [1, 3]),
        ("1,10%,100%", 1, [1]),
        ("100%", 7, [7]),
        ("2, 5 ,50%", 20, [2, 5, 10]),
        ("34%,67%", 3, [2, 3]),
    ],
)
def test_waves(text: str, boards: int, targets: list[int]) -> None:
    assert Waves.parse(text).targets(boards) == targets


@pytest.mark.parametrize("text", ["", "0", "1,", "101%", "10%,5%", "5,5", "all", "-1", "1.5"])
def test_no_waves(text: str) -> None:
    with pytest.raises(RequestError, match="are not waves"):
        Waves.parse(text)
