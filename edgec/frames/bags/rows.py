"""A `.db3` that `rosbags` cannot open, since it reads every page to count messages: its rows, as far as SQLite reads them.

The tables are those of rosbag2's SQLite storage in all its versions: `topics` and `messages`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

_LONGEST_GAP = 1 << 32
"""Rows that are tried to be skipped where some cannot be read."""


class Rows:
    """The database, opened for reading. Raises `sqlite3.Error` if it is none, or its list of topics is lost."""

    def __init__(self, path: Path) -> None:
        # Other threads read too, one at a time. As `rosbags` does, changes of the file are not expected.
        self._base = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        try:
            # Without it SQLite refuses a file that has fewer pages than its header says.
            self._base.execute("PRAGMA writable_schema = ON")
            self.topics: dict[int, tuple[str, str]] = {
                number: (str(name), str(kind)) for number, name, kind in self._base.execute("SELECT id, name, type FROM topics")
            }
        except BaseException:
            self._base.close()
            raise
        self._places: dict[int, list[tuple[int, int]]] = {}

    def close(self) -> None:
        """Closes the database."""
        self._base.close()

    def count(self, topic: int) -> int:
        """Messages of the topic with this number that can be listed."""
        return len(self._listed(topic))

    def messages(self, topic: int, start: int | None) -> Iterator[tuple[int, bytes]]:
        """Time in ns and bytes of the topic's messages from `start` on. Raises `sqlite3.Error` at one that cannot be read."""
        for time, row in self._listed(topic):
            if start is None or time >= start:
                found = self._base.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
                yield time, bytes(found[0])

    def _listed(self, topic: int) -> list[tuple[int, int]]:
        """Times and rows of the topic, in time. Rows that cannot be read are passed over in steps that double."""
        if topic not in self._places:
            places: list[tuple[int, int]] = []
            last, gap = 0, 1
            while gap < _LONGEST_GAP:
                try:
                    # Not by the index of times, which is in the lost part as well.
                    query = "SELECT timestamp, id FROM messages NOT INDEXED WHERE id >= ? AND topic_id = ? ORDER BY id"
                    for time, row in self._base.execute(query, (last + gap, topic)):
                        places.append((int(time), int(row)))
                        last, gap = row, 1
                    break
                except sqlite3.DatabaseError:
                    gap *= 2
            self._places[topic] = sorted(places)
        return self._places[topic]
