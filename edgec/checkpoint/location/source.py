"""From what the user typed to the files of the checkpoint, and their hash. Imports no torch.

A reference is `demo`, `random:ARCH`, a file of weights, a Hugging Face directory, or a directory that holds one file of weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgec.checkpoint.containers import files
from edgec.checkpoint.containers.other_formats import AGAIN, folder_of_another_kind
from edgec.checkpoint.location.adjacent import CONFIG, NO_CONFIG, check_rivals, config_files, config_path
from edgec.checkpoint.statements.config import read_json
from edgec.checkpoint.weights.random import PREFIX, random_identity
from edgec.durable import sha256_of
from edgec.errors import UnreadableCheckpoint
from edgec.paths import expand
from edgec.text import counted, listed, shown
from edgec.untrusted import is_file, read_bytes

DEMO = "demo"
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".pth.tar")
HUGGINGFACE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_INDEX = ".index.json"
_TEXT_LIMIT = 1 << 20
_SMALL_FILE_LIMIT = 16 << 20
_MOST_LICENCES = 64
_MOST_SHARDS = 1000


@dataclass(frozen=True)
class Identity:
    """A checkpoint's name and hashes, found without loading it.

    `sha256` is the SHA-256 of a single file, so that it can be compared with a published one. For a directory it is over the
    sorted names and SHA-256s of the files that `read` uses. `key` changes with everything that `read` looks at, also with the
    names and the licence files around a single file: caches are keyed by it.
    """

    name: str
    sha256: str
    key: str


@dataclass(frozen=True)
class Source:
    """The files of one checkpoint. `folder` says that the user gave a directory."""

    name: str
    path: Path
    folder: bool
    weights: tuple[Path, ...]
    configs: tuple[Path, ...] = ()
    copies: tuple[Path, ...] = ()
    """Files that by their names hold the same weights; `read` compares them."""
    index: Path | None = None
    licences: tuple[Path, ...] = ()
    """Licence and notice files."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names that may say whose weights these are, the most specific first: the file's, its directory's, the hub cache's."""
        path = self.path.absolute()
        names = (path.name,) if self.folder else (path.name, path.parent.name)
        return names + tuple(part for part in path.parts if part.startswith("models--"))


def locate(reference: str) -> Source:
    """The files that `reference` means, other than `random:ARCH`. Raises `UnreadableCheckpoint` if there are none, or several."""
    try:
        path = Path(__file__).parents[1] / "demo" if reference == DEMO else expand(reference)
        if path.is_dir():
            return _directory(path, DEMO if reference == DEMO else path.absolute().name)
        if path.is_file() and path.name.endswith(_INDEX):
            return _of_index(path, path.absolute().parent.name)
        if path.is_file():
            folder = path.absolute().parent
            return Source(path.stem, path, False, (path,), config_files(folder, (path,)), licences=_licences(folder))
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
    """Name and content hashes of a checkpoint, without torch and without reading tensors. A file that cannot be a checkpoint by
    its size and first bytes is not hashed. `config` is as in `read`.

    Raises `UnreadableCheckpoint` if there is no such checkpoint, `RequestError` for an unknown `random:ARCH`.
    """
    if reference.startswith(PREFIX):
        sha256 = random_identity(reference, seed)
        return Identity(reference, sha256, _hash_of([reference, sha256]))
    source = locate(reference)
    chosen = None if config is None else NO_CONFIG if config == NO_CONFIG else digest(config_path(config), _SMALL_FILE_LIMIT)
    files.check(source.weights)
    if not source.folder:
        sha256 = digest(source.path)
        around = _digests((*source.licences, *source.configs), _SMALL_FILE_LIMIT)
        return Identity(source.name, sha256, _hash_of([source.labels, sha256, around, chosen]))
    small = {*source.licences, *source.configs, *filter(None, (source.index,))}
    digests = _digests({*source.weights, *source.copies}) + _digests(small, _SMALL_FILE_LIMIT)
    sha256 = _hash_of(sorted(digests))
    return Identity(source.name, sha256, _hash_of([source.labels, sha256, chosen]))


def digest(path: Path, limit: int | None = None) -> str:
    """SHA-256 of a file's bytes, in hex; a file that has not changed is hashed once a process. Raises `UnreadableCheckpoint` if
    it cannot be read, or is larger than `limit` bytes."""
    with _reading(path):
        status = path.stat()
        if limit is not None and status.st_size > limit:
            raise UnreadableCheckpoint(
                f"{shown(path)} is too large for what its name says.",
                evidence=f"{status.st_size:,} bytes, and {limit:,} is the most",
                remedy="remove it from the checkpoint's folder, or put the file of weights into another one",
            )
        return _digest(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _digests(paths: Iterable[Path], limit: int | None = None) -> list[tuple[str, str]]:
    return [(path.name, digest(path, limit)) for path in paths]


def read_text(path: Path) -> str:
    """The first MiB of a licence or notice, whatever its bytes. Raises `UnreadableCheckpoint`."""
    with _reading(path), path.open("rb") as file:
        return file.read(_TEXT_LIMIT).decode("utf-8", errors="replace")


@contextmanager
def _reading(path: Path, problem: str = "cannot be read") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} {problem}.", evidence=shown(error)) from error


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
            evidence=f"there is {weights.name}; the number of heads and the norms' epsilon are in {CONFIG} only",
            remedy=f"put {CONFIG} into the folder, or give the file of weights itself: heads 64 wide are assumed then",
        )
    if weights.name.endswith(_INDEX):
        return _of_index(weights, name)
    copies = check_rivals(path, (weights,), _weights_in(path), HUGGINGFACE_WEIGHTS)
    return Source(name, path, True, (weights,), config_files(path, (weights,)), copies, None, _licences(path))


def _of_index(index: Path, name: str) -> Source:
    """The sharded checkpoint that this index lists."""
    path, shards = index.parent, _shards(index)
    copies = check_rivals(path, shards, _weights_in(path), HUGGINGFACE_WEIGHTS)
    return Source(name, path, True, shards, config_files(path, shards), copies, index, _licences(path))


def _snapshot(path: Path) -> Path | None:
    """The folder with the files, if `path` is a repository in Hugging Face's cache; else None.

    The cache keeps a folder for each commit, and says in `refs/main` which of them is the default.
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
    commits = sorted(folder.name for folder in snapshots.iterdir() if folder.is_dir())
    if len(commits) == 1:
        return snapshots / commits[0]
    raise UnreadableCheckpoint(
        f"{shown(path)} is a repository in Hugging Face's cache, and nothing says which of its commits is meant.",
        evidence=f"in snapshots: {listed(commits)}" if commits else "snapshots is empty: the download did not finish",
        remedy=f"give one of them: {shown(snapshots / commits[0])}" if commits else "run the download again",
    )


def _only_checkpoint(path: Path) -> Path:
    """The one file of weights in a folder. Raises `UnreadableCheckpoint` if there are none or several."""
    with _reading(path, "cannot be listed"):
        every = sorted(path.iterdir())
    candidates = _weights_in(path)
    if len(candidates) == 1:
        return candidates[0]
    dangling = [file for file in every if file.name.lower().endswith(SUFFIXES) and file.is_symlink() and not file.exists()]
    if dangling and not candidates:
        raise _dangling(dangling[0])
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
    """The error for a link to a missing file: Hugging Face's cache links to files whose download may not have finished."""
    return UnreadableCheckpoint(
        f"{shown(path)} is a link to a file that is not there.",
        evidence=f"it points at {shown(path.readlink())}",
        remedy="an unfinished download, or a cache that was copied without its blobs: download it again",
    )


def _weights_in(path: Path) -> list[Path]:
    with _reading(path, "cannot be listed"):
        return sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES) and file.is_file())


def _shards(index: Path) -> tuple[Path, ...]:
    """The files of a sharded checkpoint, all in the index's directory: an index must not point at other files. Raises
    `UnreadableCheckpoint`."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UnreadableCheckpoint(f"{shown(index)} has no weight_map.", remedy=AGAIN)
    names = {name for name in weight_map.values() if isinstance(name, str)}
    stray = [name for name in weight_map.values() if not isinstance(name, str) or "/" in name or name in ("", ".", "..")]
    if stray:
        raise UnreadableCheckpoint(
            f"{shown(index)} names something that is not a file in its folder.", evidence=shown(stray[0]), remedy=AGAIN
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
        raise UnreadableCheckpoint(f"Two names in {shown(index)} are of the same file.", remedy=AGAIN)
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
def _digest(path: Path, *_state: int) -> str:
    return sha256_of(path)


def _hash_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
