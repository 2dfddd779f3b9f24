"""Python imports this as it starts, wherever this folder is on its path: tries to reach another machine are refused, and written
down in the file that $WATCH_LOG names."""

import os
import sys
from typing import Any

_ALWAYS = {"urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect"}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_HERE = ("127.", "::1", "localhost")


def _leaves(event: str, arguments: tuple[Any, ...]) -> bool:
    if event in _ALWAYS:
        return True
    if event in _LOOKUPS:
        return not str(arguments[0]).startswith(_HERE)
    # An address is a pair of host and port; paths and None are of sockets within the machine.
    return event in _SENDING and isinstance(arguments[1], tuple) and not str(arguments[1][0]).startswith(_HERE)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _ALWAYS or (event.startswith("socket.") and _leaves(event, arguments)):
        with open(os.environ["WATCH_LOG"], "a", encoding="utf-8") as log:  # noqa: PTH123 - no more imports than needed
            log.write(f"{sys.argv[:3]} {event} {arguments!r}"[:500].replace("\n", " ") + "\n")
        raise PermissionError(f"no process of this test may reach another machine: {event}")


sys.addaudithook(_watch)
