"""Pages as pictures, a PNG a frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgec.extras import later
from edgec.running.painting import Painter
from edgec.running.sinks import FolderSink, Written
from edgec.running.types import Done

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

_COMPRESSION = 1
"""The fastest: pages are mostly photographs, which zlib hardly makes smaller."""


class PictureFolder(FolderSink):
    """A folder with one PNG for each frame."""

    suffix = ".png"

    def __init__(self, path: Path, painter: Painter) -> None:
        super().__init__(path)
        self._painter = painter

    def write(self, done: Done) -> None:
        """Writes the pages that can be drawn."""
        for each, page in self._painter.add(done):
            self._save(each, Image.fromarray(page))

    def finish(self) -> Written:
        """Writes the remaining pages."""
        for each, page in self._painter.rest():
            self._save(each, Image.fromarray(page))
        return super().finish()

    def _save(self, done: Done, page: Image.Image) -> None:
        with self.refusals():
            name = self.name_of(done)
            page.save(self.work / name, "PNG", compress_level=_COMPRESSION)
            self.publish(name)
