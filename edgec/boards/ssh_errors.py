"""What ssh's messages mean, and what the user can do. OpenSSH does not translate them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgec.boards.address import Address
from edgec.errors import BoardError

_SHOWN = 6
_WIDTH = 300
_NEWER = "install a newer python3 there: JetPack 5, Raspberry Pi OS 11 and Debian 11 have one, and newer ones"

_MEANINGS = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "{board} shows another host key than before.",
        "if the board was flashed again, remove the old key: ssh-keygen -R '{known}'; if not, the connection may be intercepted",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "The host key of {board} is not known here.",
        "connect once by hand and compare the key that ssh shows: {ssh}",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "{board} does not let this user in.",
        "copy your key to the board with ssh-copy-id, or name the right one with --identity; try: {ssh}",
    ),
    (
        r"Could not resolve hostname",
        "There is no host called {host}.",
        "check the name, use the board's IP address, or add it to ~/.ssh/config",
    ),
    (
        r"Connection refused",
        "{board} refuses connections.",
        "check the port (--port) and that the board's ssh server runs: systemctl status ssh",
    ),
    (
        r"timed out|No route to host|Network is unreachable|did not answer|Host is down",
        "{board} cannot be reached.",
        "check that it is switched on and in this network: ping {host}",
    ),
    (
        r"Bad configuration option|[Uu]nsupported option|keyword .* extra arguments|Bad number|command-line: line",
        "ssh does not take these options.",
        "correct --ssh-option, or ~/.ssh/config",
    ),
)


def connecting_failed(address: Address, messages: Sequence[str]) -> BoardError:
    """The error for a connection that was never made. `messages` are ssh's, which decide what it says."""
    text = "\n".join(messages)
    unknown = ("ssh could not connect to {board}.", "see whether this works: {ssh}")
    what, remedy = next(((what, remedy) for pattern, what, remedy in _MEANINGS if re.search(pattern, text)), unknown)
    return _error(address, what, messages, remedy)


def connection_lost(address: Address, messages: Sequence[str]) -> BoardError:
    """The error for a connection that broke while a command ran."""
    return _error(
        address,
        "The connection to {board} was lost. The command that ran there ends within half a minute.",
        messages,
        "run the same command again: it continues where it stopped",
    )


def ended_early(address: Address, code: int, messages: Sequence[str]) -> BoardError:
    """The error for a program that ended without reporting a result or an error of its own."""
    evidence = [f"exit code {code}", *messages]
    remedy = "run the same command again; if it happens again, report it"
    return _error(address, "The program on {board} ended before it was done.", evidence, remedy)


def misbehaves(address: Address, messages: Sequence[str]) -> BoardError:
    """The error for a machine that answers as no board does. The first message says how."""
    return _error(address, "{board} does not behave as a board does.", messages, "check what answers there: {ssh}", first=True)


def no_python(address: Address, code: int, messages: Sequence[str]) -> BoardError:
    """The error for a board where Python could not be started."""
    # macOS has a python3 that only says that the real one is not installed yet.
    missing = code in (126, 127) or any("xcode-select" in message for message in messages)
    what = "There is no python3 on {board}." if missing else "{board} lets this user in, but starts no program."
    remedy = (
        "install it there: sudo apt-get install python3, on a Mac xcode-select --install"
        if missing
        else "see whether this works: {ssh} python3 --version"
    )
    return _error(address, what, [f"exit code {code}", *messages], remedy)


def old_python(address: Address, version: str, oldest: tuple[int, int]) -> BoardError:
    """The error for a board whose Python is older than `oldest`."""
    evidence = [f"python3 is {version}; {oldest[0]}.{oldest[1]} or newer is needed"]
    return _error(address, "The Python on {board} is too old.", evidence, _NEWER)


def no_ssh() -> BoardError:
    """The error for a workstation without an ssh client."""
    return BoardError("There is no ssh on this machine.", evidence="looked on the PATH", remedy="install OpenSSH's client")


def _error(address: Address, what: str, messages: Sequence[str], remedy: str, *, first: bool = False) -> BoardError:
    """The evidence is the last lines, where ssh and Python say what is wrong; with `first`, also the first line."""
    port, lines = address.port, [line.strip() for line in messages if line.strip() and not line.startswith("@@@")]
    words = {
        "board": address.text,
        "host": address.host,
        "known": address.host if port is None else f"[{address.host}]:{port}",
        "ssh": "ssh " + ("" if port is None else f"-p {port} ") + address.destination,
    }
    evidence = [line[:_WIDTH] for line in dict.fromkeys(lines)]
    shown = [*evidence[:1], *evidence[1:][-_SHOWN:]] if first else evidence[-_SHOWN:]
    return BoardError(what.format(**words), evidence=shown, remedy=remedy.format(**words))
