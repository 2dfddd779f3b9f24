"""Addresses of boards as users write them: `host`, `user@host` or `ssh://user@host:port`, as ssh takes them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgec.errors import RequestError

_HOST = re.compile(r"[\w.:%+-]+")
"""Names, aliases of ~/.ssh/config, and addresses; nothing that a shell or ssh's own tokens would interpret."""
_USER = re.compile(r"[\w.@+\\-]+")
_SHOWN = 60
_LONGEST = 253
"""Characters of a host's name in DNS (RFC 1035); users' names are shorter."""
_LONGEST_LABEL = 64


@dataclass(frozen=True)
class Address:
    """`port` is None if ssh's configuration decides. `text` is what the user wrote, for messages and commands to repeat."""

    text: str
    user: str | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str, port: int | None = None) -> Address:
        """Read an address. `port` is for one without a port. Raises `RequestError` for text that ssh could interpret
        otherwise."""
        user, host, own_port = _split(text)
        long = max(len(host.encode("utf-8", "replace")), len((user or "").encode("utf-8", "replace"))) > _LONGEST
        if long or not _HOST.fullmatch(host) or host.startswith("-") or (user is not None and not _is_user(user)):
            raise RequestError(
                f"{text[:_SHOWN]!r} is not the address of a board.",
                evidence=[
                    "user and host may only have letters, digits and . _ + -, and must not begin with -",
                    *([f"each may have at most {_LONGEST} characters"] if long else []),
                ],
                remedy="write it as user@host, or ssh://user@host:port, or give it a name in ~/.ssh/config",
            )
        return cls(text, user, host, own_port or port)

    @property
    def destination(self) -> str:
        """`user@host` or `host`, as ssh's command line takes it."""
        return self.host if self.user is None else f"{self.user}@{self.host}"

    @property
    def label(self) -> str:
        """Short, and safe as part of a file's name."""
        name = re.sub(r"[^\w.-]", "_", self.host)
        if len(name.encode()) > _LONGEST_LABEL:
            short = name.encode()[: _LONGEST_LABEL - 9].decode("utf-8", "ignore")
            name = f"{short}-{hashlib.sha256(self.host.encode()).hexdigest()[:8]}"
        return name if self.port is None else f"{name}-{self.port}"


def parse_all(texts: Sequence[str], port: int | None = None) -> list[Address]:
    """Read several addresses. Raises `RequestError` as `Address.parse`, and for two addresses of one board."""
    addresses = [Address.parse(text, port) for text in texts]
    twice = [label for label, times in Counter(address.label for address in addresses).items() if times > 1]
    if twice:
        raise RequestError(f"{twice[0]} is given twice.", remedy="name each board once")
    return addresses


def _split(text: str) -> tuple[str | None, str, int | None]:
    """User, host and port; only the port is checked."""
    if text.startswith("ssh://"):
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            return None, "", None
        whole = not (parts.path.strip("/") or parts.query or parts.fragment or parts.password is not None)
        host = parts.netloc.rpartition("@")[2]
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return (None if parts.username is None else unquote(parts.username)), host if whole else "", port
    user, at, host = text.rpartition("@")
    return (user if at else None), host, None


def _is_user(user: str) -> bool:
    return bool(_USER.fullmatch(user)) and not user.startswith("-") and not user.endswith("\\")
