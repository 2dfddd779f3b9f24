"""Keys that this board trusts.

    /etc/edgec/trust/*.pem                 in the image: if there is one, those under --dir do not count
    ROOT/trust/*.pem                       placed by `edgec deploy --trust`
    …/trust/measurements/*.pem             whose measurements are accepted in a bundle, too

Without a key a board takes every artefact.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterable, NamedTuple, Sequence

from edgec_onboard.files import write_text
from edgec_onboard.openssl import Trust, read_trust

from edgec_device.system import System

SYSTEM = "/etc/edgec/trust"
FOLDER = "trust"
MEASUREMENTS = "measurements"
_DEPLOYED = "deployed.pem"


class Keys(NamedTuple):
    """Whose releases are taken, and whose measurements. `placed`: not only named on the command line."""

    trust: Trust = Trust()
    measurers: Trust = Trust()
    placed: bool = False

    @property
    def any(self) -> bool:
        """Whether releases must be signed."""
        return any(self.trust)


def read_keys(system: System, root: Path, given: Sequence[Path] = ()) -> Keys:
    """The keys that count here, with those that were `given`. Raises `UsageError` for a file that holds none: a board whose keys
    cannot be read must not take everything; and `OSError` for a folder that cannot be read."""
    places = (system.path(SYSTEM), root / FOLDER)
    folder = next((place for place in places if _pem_files(place)), places[-1])
    placed = _pem_files(folder)
    return Keys(read_trust([*placed, *given]), read_trust(_pem_files(folder / MEASUREMENTS)), bool(placed))


def with_delivered(keys: Keys, texts: Sequence[str]) -> Keys:
    """The keys that count when `texts`, in PEM, come along: the board's own, or these if it has none. Raises `UsageError`."""
    if keys.any or not texts:
        return keys
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        path = Path(folder, "keys.pem")
        path.write_text("\n".join(texts), encoding="utf-8")
        return keys._replace(trust=read_trust([path]))


def place(system: System, root: Path, texts: Iterable[str]) -> Path | None:
    """Keep keys, in PEM, that came with a release which the board took; returns the file if that changed anything. Those of an
    image stay the only ones. Raises `OSError`."""
    content = "\n".join(text.strip() for text in texts) + "\n"
    path = root / FOLDER / _DEPLOYED
    if not content.strip() or _pem_files(system.path(SYSTEM)) or (path.is_file() and path.read_text("utf-8") == content):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, content)
    return path


def _pem_files(folder: Path) -> list[Path]:
    try:
        # Not `glob`, which takes a folder that cannot be read for an empty one.
        return sorted(path for path in folder.iterdir() if path.suffix == ".pem")
    except (FileNotFoundError, NotADirectoryError):
        return []
