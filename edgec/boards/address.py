"""What a user calls a board: `host`, `user@host` or `ssh://user@host:port`, as ssh takes them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgec.errors import RequestError

_HOST = re.compile(r"[\w.:%+-]+")
"""Names, aliases of ~/.ssh/config, and addresses; nothing that a shell or ssh's own tokens could take for more."""
_USER = re.compile(r"[\w.@+\\-]+")
_SHOWN = 60
_LONGEST = 253
"""Characters of a host's name in DNS (RFC 1035); nobody's own name is longer."""
_LONGEST_LABEL = 64


@dataclass(frozen=True)
class Address:
    """`port` is None where ssh's configuration decides. `given` is what the user typed, for messages that say what to type."""

    given: str
    user: str | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str, port: int | None = None) -> Address:
        """`port` is for boards that name none themselves. Raises `RequestError` for what ssh could take for something else."""
        user, host, own = _split(text)
        long = max(len(host.encode("utf-8", "replace")), len((user or "").encode("utf-8", "replace"))) > _LONGEST
        if long or not _HOST.fullmatch(host) or host.startswith("-") or (user is not None and not _is_user(user)):
            raise RequestError(
                f"{text[:_SHOWN]!r} is not the address of a board.",
                evidence=[
                    "a user and a host have letters, digits and . _ + - only, and do not begin with -",
                    *([f"they have {_LONGEST} of them at most"] if long else []),
                ],
                remedy="write it as user@host, or ssh://user@host:port, or give it a name in ~/.ssh/config",
            )
        return cls(text, user, host, own or port)

    @property
    def destination(self) -> str:
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
    """Raises `RequestError` also for two that are one board."""
    found = [Address.parse(text, port) for text in texts]
    twice = [label for label, times in Counter(address.label for address in found).items() if times > 1]
    if twice:
        raise RequestError(f"{twice[0]} is given twice.", remedy="name each board once")
    return found


def _split(text: str) -> tuple[str | None, str, int | None]:
    """User, host and port, none of them checked but the port."""
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
