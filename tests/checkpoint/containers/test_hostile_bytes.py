"""Bytes that somebody made to hurt whoever opens them. Each test's files are opened in a process of its own, which has 4 GB at
most and must say no: no crash, no end of memory, no long work."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from edgec.checkpoint.containers.pickles import NESTING, Window, read_pickle
from edgec.untrusted import Refused
from tests.support.forks import Forks

MEMORY = 4 << 30
SECONDS = 20
"""Of processor time a file, which other work on the machine does not change."""
_OPEN = """
import resource, sys, time
from pathlib import Path
from edgec.checkpoint import identify, read
from edgec.errors import EdgecError
from edgec.heads.reading import read_head
resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for path in sys.argv[1:]:
    codes = []
    until = int(time.process_time()) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    for act in (identify, read, lambda path: read_head("floor", Path(path))):
        try:
            act(path)
        except EdgecError as error:
            assert str(error) and len(str(error)) < 5000
            codes.append(error.exit_code)
    print(path, codes)
"""
BEGINNING = b"\x80\x02"
MAGIC = 0x1950A86A20F9469CFC6C
DEEP = 150_000
"""Levels. Of a stack of 8 MB, that leaves each 56 bytes, which is less than any function in C takes."""


Opened = Callable[..., dict[str, list[int]]]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """The exit codes that `identify`, `read` and reading a head end with, by file; those that say no to it."""
    code = _OPEN.replace("SECONDS", str(SECONDS)).replace("MEMORY", str(MEMORY))
    modules = "edgec.checkpoint.reader", "edgec.heads.reading", "torch", "safetensors.torch"
    with Forks(*modules, env={"OMP_NUM_THREADS": "1"}) as forks:

        def open_(*paths: Path) -> dict[str, list[int]]:
            done = forks.edgec(*paths, cwd=Path.cwd(), code=code)
            assert done.returncode == 0, done.stderr[-2000:]
            lines = [line.rsplit(" [", 1) for line in done.stdout.splitlines()]
            return {Path(name).name: json.loads(f"[{codes}") for name, codes in lines}

        yield open_


def zipped(path: Path, description: bytes, records: Mapping[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", description)
        for name, content in (records or {}).items():
            archive.writestr(f"weights/{name}", content)
    return path


def before_16(path: Path, description: bytes) -> Path:
    """In the format of torch.save before version 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickle.dumps(MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps(system, 2), description, pickle.dumps([], 2)]
    path.write_bytes(b"".join(parts))
    return path


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def doubled(make: Callable[[bytes], bytes]) -> bytes:
    """A value that holds the one before it twice, 250 times over."""
    return b"Nq\x00" + b"".join(b"0" + make(b"h" + bytes([step - 1])) + b"q" + bytes([step]) for step in range(1, 250))


# One value under the key "a", unless it is said otherwise.
VALUES = {
    "a tuple in a tuple": b")" + b"\x85" * DEEP,
    "a list in a list": b"]" * DEEP + b"a" * (DEEP - 1),
    "a dictionary in a dictionary": (b"}" + text(b"a")) * DEEP + b"N" + b"s" * DEEP,
    "marks": b"(" * 3_000_000,
    "many dictionaries": b"](" + b"}" * 3_000_000 + b"e",
    "many copies of one": b"]" + b"2a" * 100_000,
    "a number of megabytes": b"\x8b" + struct.pack("<i", 8_000_000) + b"\x7f" * 8_000_000,
    "a number of many digits": b"L" + b"9" * 5_000_000 + b"L\n",
    "a number of negative length": b"\x8b" + struct.pack("<i", -1),
    "a text of 4 GB": b"X" + struct.pack("<I", 4_000_000_000) + b"ab",
    "a text of exabytes": b"\x8d" + struct.pack("<Q", 2**62) + b"ab",
    "bytes of terabytes": b"\x96" + struct.pack("<Q", 2**40) + b"ab",
    "laughs of tuples": doubled(lambda last: last + last + b"\x86"),
    "laughs of lists": doubled(lambda last: b"](" + last + last + b"e"),
    "laughs of dictionaries": doubled(lambda last: b"}(" + text(b"a") + last + text(b"b") + last + b"u"),
    "a buffer of petabytes": b"cbuiltins\nbytearray\n\x8a\x07" + struct.pack("<Q", 2**50)[:7] + b"\x85R",
    "a tensor of petabytes": b"ctorch\nTensor\n\x8a\x07" + struct.pack("<Q", 2**50)[:7] + b"\x85R",
    "a storage of petabytes": b"ctorch.storage\nUntypedStorage\n\x8a\x07" + struct.pack("<Q", 2**50)[:7] + b"\x85R",
    "copies of a long list": b"](" + b"N" * 500_000 + b"eq\x00cbuiltins\nset\nq\x010" + b"h\x01h\x00\x85R0" * 100_000 + b"N",
    "copies of a queue": b"](" + b"N" * 500_000 + b"eq\x00ccollections\ndeque\nq\x010" + b"h\x01h\x00\x85R0" * 100_000 + b"N",
    "copies of a text": text(b"x" * 4_000_000) + b"q\x00c_codecs\nencode\nq\x010" + b"h\x01h\x00\x85R0" * 50_000 + b"N",
    "a slow codec": b"c_codecs\nencode\n" + text(b"x" * 4_000_000) + text(b"idna") + b"\x86R",
    "a stack that is too short": b"0" * 100,
    "a mark that is missing": b"t" * 100,
    "an unknown memo": b"h\x07",
    "a call of a list": b"]]R",
    "an extension": b"\x82\x01",
    "no text": text(b"\xff\xff"),
}


def refused_by_all(opened: Opened, values: Mapping[str, bytes], save: Callable[[Path, bytes], Path], folder: Path) -> None:
    paths = [
        save(folder / f"{number}.pth", BEGINNING + b"}" + text(b"a") + value + b"s.")
        for number, value in enumerate(values.values())
    ]
    codes = opened(*paths)
    for path, name in zip(paths, values, strict=True):
        # The first bytes alone, which is all that identify looks at, may be in order.
        assert codes[path.name] in ([3, 3], [3, 3, 3]), name


def test_pickles_that_take_time_memory_or_the_stack(opened: Opened, tmp_path: Path) -> None:
    refused_by_all(opened, VALUES, zipped, tmp_path)


def test_the_same_in_the_format_before_16(opened: Opened, tmp_path: Path) -> None:
    few = ("a tuple in a tuple", "laughs of tuples", "a text of 4 GB", "a buffer of petabytes", "copies of a long list")
    refused_by_all(opened, {name: VALUES[name] for name in few}, before_16, tmp_path)


KEYS = {
    "a tuple in a tuple": b")" + b"\x85" * DEEP,
    "laughs of tuples": doubled(lambda last: last + last + b"\x86"),
    "long texts in tuples": text(b"k" * 1_000_000) + b"q\x000(" + b"h\x00" * 16 + b"tq\x010(" + b"h\x01" * 16 + b"t",
    "a list": b"]",
    "itself": b"h\x00",
    "a number of a thousand digits": b"\x8b" + struct.pack("<i", 100) + b"\x7f" * 100,
}


def test_marks_are_refused_before_they_take_time() -> None:
    """Of three million, ten thousand are read."""
    file = io.BytesIO(BEGINNING + b"(" * 3_000_000)
    with pytest.raises(Refused, match="nests values"):
        read_pickle(Window(file))
    assert file.tell() == len(BEGINNING) + NESTING + 1
    deep = BEGINNING + b"(" * 5_000 + b"l" * 5_000 + b"."
    assert isinstance(read_pickle(Window(io.BytesIO(deep)))[0], list)


@pytest.mark.parametrize("save", [zipped, before_16], ids=["zip", "before 1.6"])
def test_keys_that_would_crash_a_hash(opened: Opened, save: Callable[[Path, bytes], Path], tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.pth", BEGINNING + b"}q\x00" + key + b"Ns.") for number, key in enumerate(KEYS.values())]
    codes = opened(*paths)
    assert all(set(codes[path.name]) == {3} for path in paths), codes


def header(entries: object, data: bytes = b"") -> bytes:
    content = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(content)) + content + data


# Made when they are written: some are of megabytes, which whoever only collects tests need not wait for.
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
HEADERS: dict[str, Callable[[], bytes]] = {
    "of 100 MB": lambda: header(b"{" + b" " * 100_000_000 + b"}"),
    "of 300,000 tensors": lambda: header({f"t{number}": EMPTY for number in range(300_000)}),
    "of lists": lambda: header(b'{"a":[' + b"[1,2]," * 2_000_000),
    "nested": lambda: header(b'{"a":' + b"[" * 1_000_000),
    "of overlapping tensors": lambda: header({"a": ONE, "b": ONE}, bytes(4)),
    "of tensors with a gap": lambda: header({"a": ONE, "b": {**ONE, "data_offsets": [8, 12]}}, bytes(12)),
    "of one name twice": lambda: header(b'{"a":%s,"a":%s}' % ((json.dumps(ONE).encode(),) * 2), bytes(4)),
    "of a product that overflows": lambda: header({"a": {**EMPTY, "shape": [2**32, 2**32]}}),
    "of zeros and more than that": lambda: header({"a": {**EMPTY, "shape": [0, 2**62, 2**62]}}),
    "of many dimensions": lambda: header({"a": {**EMPTY, "shape": [1] * 100_000}}),
    "of a negative dimension": lambda: header({"a": {**ONE, "shape": [-1]}}, bytes(4)),
    "of half dimensions": lambda: header({"a": {**ONE, "shape": [0.5]}}, bytes(4)),
    "of true dimensions": lambda: header({"a": {**ONE, "shape": [True]}}, bytes(4)),
    "of numbers with 5,000 digits": lambda: header(b'{"a":{"dtype":"F32","shape":[%s]}}' % (b"9" * 5000)),
    "of a name of a megabyte": lambda: header({"n" * 1_000_000: ONE}, bytes(4)),
    "of metadata of 20 MB": lambda: header({"__metadata__": {"a": "x" * 20_000_000}, "a": ONE}, bytes(4)),
    "of metadata that is no text": lambda: header({"__metadata__": {"a": {"b": 1}}, "a": ONE}, bytes(4)),
    "with bytes after it": lambda: header({"a": ONE}, bytes(5)),
}


def test_headers_of_safetensors(opened: Opened, tmp_path: Path) -> None:
    paths = []
    for number, make in enumerate(HEADERS.values()):
        paths.append(tmp_path / f"{number}.safetensors")
        paths[-1].write_bytes(make())
    codes = opened(*paths)
    for path, name in zip(paths, HEADERS, strict=True):
        assert codes[path.name] == [3, 3, 3], name


def damaged(content: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    place = content.rfind(signature) + offset
    return content[:place] + value + content[place + len(value) :]


END, ENTRY, LOCAL = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
MUCH = b"\xf0\xff\xff\xff"
ZIPS = {
    "a directory of 4 GB": (END, 12, MUCH),
    "a directory past the end": (END, 16, MUCH),
    "a directory at the beginning": (END, 16, bytes(4)),
    "no directory": (END, 12, bytes(4)),
    "a record past the end": (ENTRY, 42, MUCH),
    "a record of 4 GB": (ENTRY, 24, MUCH),
    "a record that grows": (ENTRY, 20, MUCH),
    "a record with a password": (ENTRY, 8, b"\x01\x00"),
    "an unknown compression": (ENTRY, 10, b"\x63\x00"),
    "an endless extra field": (ENTRY, 30, b"\xff\xff"),
    "an endless name": (ENTRY, 28, b"\xff\xff"),
    "a local header that is none": (LOCAL, 0, b"XX"),
    "a local name without end": (LOCAL, 26, b"\xff\xff"),
}


def test_archives_with_false_directories(opened: Opened, tmp_path: Path) -> None:
    zipped(tmp_path / "sound.zip", BEGINNING + b"}.")
    sound, paths = (tmp_path / "sound.zip").read_bytes(), []
    for number, change in enumerate(ZIPS.values()):
        paths.append(tmp_path / f"{number}.pth")
        paths[-1].write_bytes(damaged(sound, *change))
    codes = opened(*paths)
    for path, name in zip(paths, ZIPS, strict=True):
        assert set(codes[path.name]) == {3}, name


def test_an_archive_of_many_records_or_of_one_twice(opened: Opened, tmp_path: Path) -> None:
    paths = [tmp_path / "many.pth", tmp_path / "twice.pth", tmp_path / "two.pth"]
    zipped(paths[0], BEGINNING + b"}.", {f"data/{number:0500}": b"" for number in range(18_000)})
    with zipfile.ZipFile(paths[1], "w") as archive:
        archive.writestr("weights/data.pkl", BEGINNING + b"}.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("weights/data.pkl", BEGINNING + b"}.")
    with zipfile.ZipFile(paths[2], "w") as archive:
        archive.writestr("weights/data.pkl", BEGINNING + b"}.")
        archive.writestr("others/data.pkl", BEGINNING + b"}.")
    assert opened(*paths) == {path.name: [3, 3, 3] for path in paths}


BEGINNINGS: dict[str, Callable[[int], bytes]] = {
    "safetensors": lambda size: header({"a": {"dtype": "U8", "shape": [size - 88], "data_offsets": [0, size - 88]}}),
    "pickle": lambda _: BEGINNING + b"X" + MUCH,
    "zip": lambda _: LOCAL,
    "noise": lambda _: b"\x01\x02\x03\x80",
}


def test_a_file_of_holes_is_refused_before_it_is_hashed(opened: Opened, tmp_path: Path) -> None:
    paths = []
    for size in (200 << 30, 20 << 30):
        for kind, start in BEGINNINGS.items():
            paths.append(tmp_path / f"{size}.{kind}")
            with paths[-1].open("wb") as file:
                file.write(start(size))
                file.truncate(size)
    assert opened(*paths) == {path.name: [3, 3, 3] for path in paths}


def test_files_next_to_a_checkpoint_are_bounded_too(opened: Opened, tmp_path: Path) -> None:
    paths = []
    for name in ("LICENSE", "config.json", "head.toml"):
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        paths.append(folder / "head.safetensors" if name == "head.toml" else folder)
        (folder / ("head.safetensors" if name == "head.toml" else "model.safetensors")).write_bytes(header({"a": ONE}, bytes(4)))
        if name == "LICENSE":
            (folder / "config.json").write_text("{}")
        with (folder / name).open("wb") as file:
            file.truncate(200 << 30)
    codes = opened(*paths)
    assert [codes[path.name][:2] for path in paths[:2]] == [[3, 3]] * 2
    assert codes["head.safetensors"][-1] == 3
