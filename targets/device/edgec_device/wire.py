"""The standard input as `edgec deploy` uses it (`--bundle -`): first the bundle, then heartbeats, and files on request.

    <size> LF <bundle.json>    the bundle that the command works on
    <size> LF <delivery>       with --signed: the other files of the release, packages and keys that come along
    LF                         a heartbeat, every few seconds
    = <bytes>                  after the event `wanted`: the files' contents from their offsets on, in the order of the request

Over SSH a command without a terminal gets no signal when the connection breaks, and could outlive it by hours. Here the end of
the input, or its silence, ends the run as SIGHUP would.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from edgec_onboard.documents import items, text
from edgec_onboard.errors import ArtefactError, Interrupted
from edgec_onboard.untrusted import parse_json

from edgec_device.bundle import MOST_BUNDLE_BYTES, Bundle, parse_bundle, read_files, read_wheels

SILENCE_S = 30.0
_TICK_S = 0.5
_BLOCK = 1 << 18
_MOST_TRUST = 16
_NOWHERE = Path(os.devnull)


class Delivery(NamedTuple):
    """The bundle, with every file of the signed release and the packages that come along; and keys in PEM."""

    bundle: Bundle
    trust: tuple[str, ...]


class Wire:
    """One connection's input. `watch` may only be on between reads: everything that arrives meanwhile is taken for a
    heartbeat."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._watching = False
        self._last_input = time.monotonic()
        self.document = b""
        """bundle.json as it arrived."""

    def bundle(self, root: Path, function: str | None = None) -> Bundle:
        """Read the bundle, which comes first. Its files are, or will be, in its release under `root`. Raises as
        `parse_bundle`."""
        self.document, document = self._json()
        bundle = parse_bundle(_NOWHERE, document, "standard input", function)
        return replace(bundle, root=root / bundle.name / "releases" / bundle.key)

    def delivery(self, bundle: Bundle) -> Delivery:
        """Read what a signed release has besides its bundle, which it completes. Raises `ArtefactError`."""
        _, document = self._json()
        try:
            files = read_files(bundle.root, items(document["files"]))
            wheels, trust = read_wheels(bundle.root, document["wheels"]), tuple(map(text, document["trust"]))
            if len(trust) > _MOST_TRUST:
                raise ValueError(f"{len(trust)} keys come along")
            return Delivery(replace(bundle, files=bundle.files + files, wheels=wheels), trust)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtefactError("What comes with the bundle cannot be used.", evidence=[str(error)]) from error

    def _json(self) -> tuple[bytes, Any]:
        size = b""
        while not size.endswith(b"\n") and len(size) < 10:
            size += self._read(1)
        if not size.strip().isdigit() or int(size) > MOST_BUNDLE_BYTES:
            raise ArtefactError("There is no bundle on the standard input.", remedy="`--bundle -` is only for `edgec deploy`")
        content = b"".join(self.blocks(int(size)))
        try:
            return content, parse_json(content.decode("utf-8"))
        except ValueError as error:
            raise ArtefactError("The bundle on the standard input is not JSON.", evidence=[f"it {error}"]) from error

    def blocks(self, size: int) -> Iterator[bytes]:
        """Read the next `size` bytes."""
        while size:
            block = self._read(min(size, _BLOCK))
            size -= len(block)
            yield block

    def await_files(self) -> None:
        """Skip heartbeats up to where the contents begin."""
        while self._read(1) != b"=":
            pass

    def watch(self) -> None:
        """From now on the end of the input, or its silence, raises `Interrupted` wherever the program is.

        This uses an alarm, not a thread: a process with threads should not fork, and this one starts trtexec.
        """
        self._last_input = time.monotonic()
        self._watching = True
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)

    def pause(self) -> None:
        """Stop watching."""
        self._watching = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, signum: int, frame: object) -> None:
        while self._watching and select.select([self._descriptor], [], [], 0)[0]:
            if not os.read(self._descriptor, _BLOCK):
                self._end()
            self._last_input = time.monotonic()
        if self._watching and time.monotonic() - self._last_input > SILENCE_S:
            self._end()

    def _read(self, size: int) -> bytes:
        ready = select.select([self._descriptor], [], [], SILENCE_S)[0]
        block = os.read(self._descriptor, size) if ready else b""
        if not block:
            self._end()
        return block

    def _end(self) -> None:
        self.pause()
        raise Interrupted(signal.SIGHUP)
