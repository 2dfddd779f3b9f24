"""FLEET.toml: the boards of a fleet, and what `edgec deploy` is told for all of them.

Paths in it are relative to the file. `edgec schema fleet` prints the JSON Schema, for editors that check TOML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from edgec.boards.address import Address
from edgec.boards.ssh import SshOptions
from edgec.errors import RequestError
from edgec.paths import expand, usable_path
from edgec.records.base import Record
from edgec.records.reading import printable
from edgec.untrusted import TEXT_LIMIT, Refused, complaint, parse_toml, read_bytes

SUFFIX = ".toml"
MOST_BOARDS = 10_000
AT_ONCE = 16
_SHOWN = 8
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class BoardEntry(Record):
    """One board. What it leaves out is the fleet's, or ssh's own."""

    address: str = Field(description="user@host, ssh://user@host:port, or a name from ~/.ssh/config")
    name: Name | None = Field(default=None, description="what tables call it, by default the address")
    port: Port | None = None
    dir: str | None = Field(default=None, description="where things lie on the board, by default ~/.local/share/edgec")
    identity: str | None = Field(default=None, description="the private key to use, as with ssh -i")
    ssh_options: tuple[str, ...] = Field(default=(), description="NAME=VALUE, besides the fleet's")
    tags: tuple[Name, ...] = Field(default=(), description="to choose boards by: --tag")


class Fleet(Record):
    """The file. Boards come first that are listed first: the first wave of a release goes to them."""

    name: Name
    boards: tuple[BoardEntry, ...] = Field(min_length=1, max_length=MOST_BOARDS)
    port: Port | None = None
    dir: str | None = None
    identity: str | None = None
    ssh_options: tuple[str, ...] = ()
    at_once: int = Field(default=AT_ONCE, ge=1, le=256, description="how many boards are worked on at the same time")
    trust: tuple[str, ...] = Field(default=(), description="public keys, as --trust")
    wheels: str | None = Field(default=None, description="a folder, as --wheels")
    patience: float | None = Field(default=None, gt=0, le=24 * 3600, description="seconds, as --patience")
    keep: int | None = Field(default=None, ge=0, le=1000, description="as --keep")
    wave: str = Field(default="1,10%,100%", description="as --wave")
    halt_at: int = Field(default=1, ge=1, description="as --halt-at")

    @field_validator("boards", mode="before")
    @classmethod
    def _addresses(cls, boards: Any) -> Any:
        """A board may be its address alone."""
        return (
            [{"address": board} if isinstance(board, str) else board for board in boards] if isinstance(boards, list) else boards
        )


@dataclass(frozen=True)
class Place:
    """A board, and how it is reached. `name` is what people see."""

    name: str
    address: Address
    options: SshOptions
    directory: str | None
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of this board and folder alone: two fleets that list the same one agree on it."""
        user = "" if self.address.user is None else f"{self.address.user}@"
        return f"{user}{self.address.label}:{self.directory or ''}"


@dataclass(frozen=True)
class OpenFleet:
    """A file that was read, and its boards in order."""

    path: Path
    fleet: Fleet
    places: tuple[Place, ...]

    @property
    def wheels(self) -> Path | None:
        """The folder of wheels, if there is one."""
        return None if self.fleet.wheels is None else self._beside(self.fleet.wheels)

    @property
    def trust(self) -> tuple[Path, ...]:
        """The files with public keys."""
        return tuple(map(self._beside, self.fleet.trust))

    def _beside(self, text: str) -> Path:
        return self.path.parent / expand(text)

    def chosen(self, boards: Sequence[str], tags: Sequence[str]) -> list[Place]:
        """Those with one of these names or addresses, and with one of these tags; all of them where none is named. Raises
        `RequestError` for a name or a tag that no board has."""
        known = {text for place in self.places for text in (place.name, place.address.text)}
        marked = {tag for place in self.places for tag in place.tags}
        for kind, missing in (("board", set(boards) - known), ("tag", set(tags) - marked)):
            if missing:
                raise RequestError(
                    f"{self.path} has no {kind} {printable(min(missing))[:60]}.",
                    evidence=f"it has {', '.join(sorted(known if kind == 'board' else marked)[:_SHOWN]) or 'none'}, …",
                )
        return [
            place
            for place in self.places
            if (not boards or {place.name, place.address.text} & set(boards)) and (not tags or set(place.tags) & set(tags))
        ]


def is_fleet(text: str) -> bool:
    """Whether a board on the command line is meant as a FLEET.toml."""
    return text.endswith(SUFFIX)


def read_fleet(path: Path) -> OpenFleet:
    """Raises `RequestError` for a file that cannot be read, is no TOML, or says something else than a fleet's must; and for two
    boards of one name or address."""
    path = usable_path(path, "The fleet's file")
    remedy = 'it needs a name, and boards, as in: name = "warehouse", boards = ["robot@r1", "robot@r2"]'
    try:
        fleet = Fleet.model_validate(parse_toml(read_bytes(path, TEXT_LIMIT)))
    except FileNotFoundError:
        raise RequestError(f"There is no fleet at {path}.", remedy="give the path of a FLEET.toml") from None
    except Refused as error:
        raise RequestError(f"The fleet at {path} cannot be used.", evidence=f"it {error}", remedy=remedy) from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        evidence = [f"{'.'.join(map(str, each['loc']))}: {complaint(each)}" for each in problems[:_SHOWN]]
        raise RequestError(
            f"{path} is not a fleet.", evidence=[printable(line)[:300] for line in evidence], remedy=remedy
        ) from error
    places = tuple(_place(path, fleet, board) for board in fleet.boards)
    require_distinct(places)
    return OpenFleet(path.absolute(), fleet, places)


def require_distinct(places: Sequence[Place]) -> None:
    """Raises `RequestError` for two boards of one name or address."""
    for values in ([place.name for place in places], [place.key for place in places]):
        twice = [value for value, times in Counter(values).items() if times > 1]
        if twice:
            raise RequestError(f"{twice[0]} is given twice.", remedy="name each board once")


def json_schema() -> dict[str, Any]:
    """Of a FLEET.toml."""
    schema = Fleet.model_json_schema()
    boards = schema["properties"]["boards"]
    boards["items"] = {"anyOf": [{"type": "string"}, boards["items"]]}
    return {"$schema": _DIALECT, "$id": "urn:edgec:fleet:1", **schema}


def _place(path: Path, fleet: Fleet, board: BoardEntry) -> Place:
    address = Address.parse(board.address, board.port or fleet.port)
    named = board.identity or fleet.identity
    identity = None if named is None else path.absolute().parent / expand(named)
    if identity is not None and not identity.is_file():
        raise RequestError(f"{path} names a private key that is not there.", evidence=str(identity))
    # ssh takes the first value of an option: the board's own.
    options = SshOptions(identity, (*board.ssh_options, *fleet.ssh_options))
    return Place(board.name or board.address, address, options, board.dir or fleet.dir, board.tags)
