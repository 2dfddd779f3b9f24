"""Where a checkpoint lies: from what the user typed to the files that it means, and their hash. Imports no torch.

A reference is `demo`, `random:ARCH`, a file of weights, a Hugging Face directory, or a directory that holds one file of weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgec.checkpoint import files
from edgec.checkpoint.beside import CONFIG, NO_CONFIG, check_rivals, config_path, stated_files
from edgec.checkpoint.config import read_json
from edgec.checkpoint.random import PREFIX, random_identity
from edgec.checkpoint.strangers import AGAIN, folder_of_another_kind
from edgec.checkpoint.text import counted, listed, shown
from edgec.errors import UnreadableCheckpoint
from edgec.paths import expand
from edgec.untrusted import is_file, read_bytes

DEMO = "demo"
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".pth.tar")
HUGGINGFACE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_INDEX = ".index.json"
_TEXT_LIMIT = 1 << 20
_BESIDE_LIMIT = 16 << 20
_MOST_LICENCES = 64
_MOST_SHARDS = 1000


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is, told without loading it.

    `sha256` is the plain SHA-256 of a single file, so that it can be compared with a published one. For a directory it is over
    the sorted names and SHA-256s of the files that `read` uses. `key` changes with everything that `read` can look at, the
    name and the licence files beside a single file included: it is the one to key a cache with.
    """

    name: str
    sha256: str
    key: str


@dataclass(frozen=True)
class Source:
    """The files of one checkpoint. `beside` are licence and notice files; `folder` says that a directory was named."""

    name: str
    path: Path
    folder: bool
    weights: tuple[Path, ...]
    stated: tuple[Path, ...] = ()
    """Files beside whose words count."""
    copies: tuple[Path, ...] = ()
    """Files that by their names hold the same weights; it is for `read` to compare them."""
    index: Path | None = None
    beside: tuple[Path, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that may say whose weights these are, most telling first: the file's, its directory's, the hub cache's."""
        path = self.path.absolute()
        own = (path.name,) if self.folder else (path.name, path.parent.name)
        return own + tuple(part for part in path.parts if part.startswith("models--"))


def locate(reference: str) -> Source:
    """The files that `reference` means, other than `random:ARCH`. Raises `UnreadableCheckpoint` if there are none, or several."""
    try:
        path = Path(__file__).parent / "demo" if reference == DEMO else expand(reference)
        if path.is_dir():
            return _directory(path, DEMO if reference == DEMO else path.absolute().name)
        if path.is_file() and path.name.endswith(_INDEX):
            return _of_index(path, path.absolute().parent.name)
        if path.is_file():
            folder = path.absolute().parent
            return Source(path.stem, path, False, (path,), stated_files(folder, (path,)), beside=_licences(folder))
        exists, dangling = path.exists(), path.is_symlink()
    except (OSError, ValueError) as error:
        raise UnreadableCheckpoint(
            f"{shown(reference)} cannot be opened.", evidence=shown(error), remedy="check its name and its permissions"
        ) from error
    if exists:
        raise UnreadableCheckpoint(
            f"{shown(reference)} is neither a file nor a directory.", remedy="give a file of weights or a folder that holds one"
        )
    if dangling:
        raise _dangling(path)
    raise UnreadableCheckpoint(
        f"There is no checkpoint at {shown(reference)}.",
        evidence=f"looked in {shown(Path.cwd())}",
        remedy="give a .pth, .pt, .bin or .safetensors file, a Hugging Face directory, `demo`, or `random:ARCH`",
    )


def identify(reference: str, *, seed: int = 0, config: str | None = None) -> Identity:
    """Name and content hash of a checkpoint, without torch and without opening the weights. Nothing is hashed that cannot be a
    checkpoint by its size and its first bytes. `config` is as in `read`.

    Raises `UnreadableCheckpoint` if it is not there or cannot be one, `RequestError` for an unknown `random:ARCH`.
    """
    if reference.startswith(PREFIX):
        sha256 = random_identity(reference, seed)
        return Identity(reference, sha256, _hash_of([reference, sha256]))
    source = locate(reference)
    chosen = None if config is None else NO_CONFIG if config == NO_CONFIG else _digest_of_text(config_path(config))
    files.check(source.weights)
    if not source.folder:
        sha256 = digest(source.path)
        around = [(path.name, _digest_of_text(path)) for path in (*source.beside, *source.stated)]
        return Identity(source.name, sha256, _hash_of([source.labels, sha256, around, chosen]))
    texts = {*source.beside, *source.stated, *filter(None, (source.index,))}
    weights = {*source.weights, *source.copies}
    digests = [(path.name, digest(path)) for path in weights] + [(path.name, _digest_of_text(path)) for path in texts]
    sha256 = _hash_of(sorted(digests))
    return Identity(source.name, sha256, _hash_of([source.labels, sha256, chosen]))


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes; a file that has not changed is hashed once a process."""
    try:
        status = path.stat()
        return _digest(str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} cannot be read.", evidence=shown(error)) from error


def _digest_of_text(path: Path) -> str:
    """As `digest`, of what a person or a program wrote beside the weights."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} cannot be read.", evidence=shown(error)) from error
    if size > _BESIDE_LIMIT:
        raise UnreadableCheckpoint(
            f"{shown(path)} is too large for what its name says.",
            evidence=f"{size:,} bytes, and {_BESIDE_LIMIT:,} is the most",
            remedy="remove it from beside the checkpoint, or give the file of weights in a folder of its own",
        )
    return digest(path)


def read_text(path: Path) -> str:
    """A licence or notice: at most 1 MiB, whatever its bytes."""
    try:
        with path.open("rb") as file:
            return file.read(_TEXT_LIMIT).decode("utf-8", errors="replace")
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} cannot be read.", evidence=shown(error)) from error


def _directory(path: Path, name: str) -> Source:
    snapshot = _snapshot(path)
    if snapshot is not None:
        path, name = snapshot, name.rsplit("--", 1)[-1]
    weights = next((path / known for known in HUGGINGFACE_WEIGHTS if (path / known).is_file()), None)
    if weights is None:
        weights = _only_checkpoint(path)
    elif not (path / CONFIG).is_file():
        raise UnreadableCheckpoint(
            f"{shown(path)} has weights in Hugging Face's layout but no {CONFIG}.",
            evidence=f"found {weights.name}; the number of heads and the norms' epsilon are in {CONFIG} only",
            remedy=f"put {CONFIG} beside it, or name the file of weights itself: heads 64 wide are assumed then",
        )
    if weights.name.endswith(_INDEX):
        return _of_index(weights, name)
    copies = check_rivals(path, (weights,), _weights_in(path), HUGGINGFACE_WEIGHTS)
    return Source(name, path, True, (weights,), stated_files(path, (weights,)), copies, None, _licences(path))


def _of_index(index: Path, name: str) -> Source:
    """The folder's checkpoint, of which this is the index."""
    path, shards = index.parent, _shards(index)
    copies = check_rivals(path, shards, _weights_in(path), HUGGINGFACE_WEIGHTS)
    return Source(name, path, True, shards, stated_files(path, shards), copies, index, _licences(path))


def _snapshot(path: Path) -> Path | None:
    """The folder of the files themselves, if `path` is a repository in Hugging Face's cache; None if it is none.

    The cache keeps a folder for each commit, and says in `refs/main` which one is meant where nobody says.
    """
    snapshots = path / "snapshots"
    if not snapshots.is_dir() or not ((path / "refs").is_dir() or (path / "blobs").is_dir()):
        return None
    try:
        main = read_bytes(path / "refs" / "main", 256).decode("ascii").strip()
    except (OSError, ValueError):
        main = ""
    if re.fullmatch(r"\w[\w.-]*", main) and (snapshots / main).is_dir():
        return snapshots / main
    there = sorted(each.name for each in snapshots.iterdir() if each.is_dir())
    if len(there) == 1:
        return snapshots / there[0]
    raise UnreadableCheckpoint(
        f"{shown(path)} is a repository in Hugging Face's cache, and nothing says which of its commits is meant.",
        evidence=f"in snapshots: {listed(there)}" if there else "snapshots is empty: the download did not finish",
        remedy=f"give one of them: {shown(snapshots / there[0])}" if there else "run the download again",
    )


def _only_checkpoint(path: Path) -> Path:
    try:
        every = sorted(path.iterdir())
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} cannot be listed.", evidence=shown(error)) from error
    candidates = _weights_in(path)
    if len(candidates) == 1:
        return candidates[0]
    gone = [file for file in every if file.name.lower().endswith(SUFFIXES) and file.is_symlink() and not file.exists()]
    if gone and not candidates:
        raise _dangling(gone[0])
    other = folder_of_another_kind(path, [file.name for file in candidates or every])
    if other is not None:
        raise other
    if candidates:
        raise UnreadableCheckpoint(
            f"{shown(path)} holds {len(candidates)} files of weights, and nothing says which one is meant.",
            evidence=[shown(file.name) for file in candidates[:8]],
            remedy="name the file itself",
        )
    raise UnreadableCheckpoint(
        f"{shown(path)} holds no checkpoint.",
        evidence=f"looked for {CONFIG} with {HUGGINGFACE_WEIGHTS[0]}, or one file ending in {', '.join(SUFFIXES)}",
        remedy="give the folder that they are in, or the file of weights itself",
    )


def _dangling(path: Path) -> UnreadableCheckpoint:
    """Hugging Face's cache links to files that it has not finished."""
    return UnreadableCheckpoint(
        f"{shown(path)} is a link to a file that is not there.",
        evidence=f"it points at {shown(path.readlink())}",
        remedy="an unfinished download, or a cache that was copied without its blobs: download it again",
    )


def _weights_in(path: Path) -> list[Path]:
    try:
        return sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES) and file.is_file())
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} cannot be listed.", evidence=shown(error)) from error


def _shards(index: Path) -> tuple[Path, ...]:
    """The files of a sharded checkpoint, all in the index's own directory: an index must not point at other files."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UnreadableCheckpoint(f"{shown(index)} has no weight_map.", remedy=AGAIN)
    names = {name for name in weight_map.values() if isinstance(name, str)}
    stray = [name for name in weight_map.values() if not isinstance(name, str) or "/" in name or name in ("", ".", "..")]
    if stray:
        raise UnreadableCheckpoint(
            f"{shown(index)} names something that is no file beside it.", evidence=shown(stray[0]), remedy=AGAIN
        )
    if len(names) > _MOST_SHARDS:
        raise UnreadableCheckpoint(
            f"{shown(index)} names more files than any checkpoint has.", evidence=f"{len(names):,} of them", remedy=AGAIN
        )
    if any(name.endswith(".json") for name in names):
        raise UnreadableCheckpoint(
            f"{shown(index)} names an index as a file of weights.",
            evidence=shown(next(name for name in names if name.endswith(".json"))),
            remedy=AGAIN,
        )
    missing = sorted(name for name in names if not is_file(index.parent / name))
    if missing:
        raise UnreadableCheckpoint(
            f"{counted(len(missing), 'shard')} of {len(names)} named in {shown(index)} is not there.",
            evidence=[shown(name) for name in missing[:8]],
            remedy="download the checkpoint again, whole",
        )
    shards = tuple(index.parent / name for name in sorted(names))
    if len({(shard.stat().st_dev, shard.stat().st_ino) for shard in shards}) != len(shards):
        raise UnreadableCheckpoint(f"Two of the files that {shown(index)} names are one and the same.", remedy=AGAIN)
    return shards


def _licences(folder: Path) -> tuple[Path, ...]:
    """Files called LICENSE, LICENCE or NOTICE, with any ending. A folder that cannot be listed has none."""
    try:
        every = sorted(folder.iterdir())
    except OSError:
        return ()
    named = [file for file in every if file.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))]
    return tuple(file for file in named[:_MOST_LICENCES] if is_file(file))


@lru_cache(maxsize=256)
def _digest(path: str, *_state: int) -> str:
    hasher = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def _hash_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
