from __future__ import annotations

import os
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, read_golden, write_golden
from edgec.artefact.reading import open_artefact
from edgec.errors import ArtefactError
from edgec.records.manifest import Manifest

PATHS = (FRAMES, EXPECTED_FLOAT32, EXPECTED_SHIPPED)


def features(count: int = 3, seed: int = 0, dtype: Any = np.float32) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    return {
        "patches": random.standard_normal((count, 2, 2, 8)).astype(dtype),
        "cls": random.standard_normal((count, 8)).astype(dtype),
    }


def frames(count: int = 3, side: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(2).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def manifest(artefact: Path) -> Manifest:
    return open_artefact(artefact).manifest


def test_arrays_are_read_as_they_were_written(tmp_path: Path, manifest: Manifest) -> None:
    write_golden(tmp_path, frames(), features(seed=1), features(seed=2))
    golden = read_golden(tmp_path, manifest)
    np.testing.assert_array_equal(golden.frames, frames())
    for found, expected in ((golden.expected_float32, features(seed=1)), (golden.expected_shipped, features(seed=2))):
        assert set(found) == {"cls", "patches"}
        for name, array in found.items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, expected[name])


def test_numpy_reads_them_without_pickle(tmp_path: Path) -> None:
    write_golden(tmp_path, frames(), features(), features())
    with np.load(tmp_path / EXPECTED_SHIPPED, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["patches"], features()["patches"])


def test_the_bytes_do_not_depend_on_pythons_version(tmp_path: Path) -> None:
    """Python 3.11.4 changed how `zipfile` writes the longer headers of members of 2 GiB and more. These are the shorter ones, in
    which the format has one way to say it."""
    write_golden(tmp_path, frames(), features(), features())
    for path in PATHS:
        content = (tmp_path / path).read_bytes()
        with zipfile.ZipFile(tmp_path / path) as archive:
            for member in archive.infolist():
                version, flags, _, _, _, _, packed, size, name, extra = struct.unpack_from(
                    "<HHHHHIIIHH", content, member.header_offset + 4
                )
                assert (version, flags, packed, size) == (20, 0, member.file_size, member.file_size)
                assert (name, extra, member.extra) == (len(member.filename), 0, b"")


def test_the_same_numbers_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_golden(first, frames(), features(), features())
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    turned = {name: np.asfortranarray(array) for name, array in reversed(features().items())}
    write_golden(second, frames()[::-1][::-1], turned, turned)
    assert [(first / path).read_bytes() for path in PATHS] == [(second / path).read_bytes() for path in PATHS]


@pytest.mark.parametrize(
    ("arguments", "evidence"),
    [
        ({"frames": frames(count=2)}, r"uint8 \(2, 32, 32, 3\), expected uint8 \(3, 32, 32, 3\)"),
        ({"frames": frames(side=16)}, r"uint8 \(3, 16, 16, 3\)"),
        ({"expected_float32": features(count=4)}, r"float32 \(4, 8\), expected float32 \(3, 8\)"),
        ({"expected_shipped": {"cls": features()["cls"]}}, r"it holds cls.npy; expected cls, patches"),
        ({"expected_shipped": features() | {"more": features()["cls"]}}, r"more"),
        ({"expected_shipped": features() | {"cls": np.full((3, 8), np.nan, np.float32)}}, r"cls holds NaN or Inf"),
        ({"expected_float32": features() | {"patches": features()["patches"].reshape(3, 1, 4, 8)}}, r"float32 \(3, 1, 4, 8\)"),
    ],
)
def test_arrays_that_do_not_fit_the_manifest(
    tmp_path: Path, manifest: Manifest, arguments: dict[str, Any], evidence: str
) -> None:
    whole: dict[str, Any] = {"frames": frames(), "expected_float32": features(), "expected_shipped": features()}
    write_golden(tmp_path, **(whole | arguments))
    with pytest.raises(ArtefactError, match="does not fit the manifest") as caught:
        read_golden(tmp_path, manifest)
    caught.match(evidence)


def rewrite(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def pickled(path: Path) -> None:
    rewrite(path, cls=np.array([os.system, *([None] * 23)], dtype=object), patches=features()["patches"])


def compressed(path: Path) -> None:
    np.savez_compressed(path, **features())


def double(path: Path) -> None:
    rewrite(path, **(features() | {"cls": np.zeros((3, 4), np.float64)}))


def swapped(path: Path) -> None:
    rewrite(path, **{name: array.astype(">f4") for name, array in features().items()})


def huge_claim(path: Path) -> None:
    """A header that promises terabytes, in as many bytes as the right array takes."""
    with zipfile.ZipFile(path, "w") as archive:
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }".ljust(117) + "\n"
        data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(3 * 8 * 4)
        archive.writestr("cls.npy", data)
        archive.writestr("patches.npy", data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a zip file")


def no_arrays(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cls.npy", bytes(200))
        archive.writestr("patches.npy", bytes(500))


@pytest.mark.parametrize(
    "damage", [pickled, compressed, double, swapped, huge_claim, truncated, empty, text, no_arrays], ids=lambda f: f.__name__
)
def test_hostile_bytes_are_refused(tmp_path: Path, manifest: Manifest, damage: Any) -> None:
    write_golden(tmp_path, frames(), features(), features())
    damage(tmp_path / EXPECTED_SHIPPED)
    with pytest.raises(ArtefactError, match=r"expected_shipped\.npz"):
        read_golden(tmp_path, manifest)


def test_a_flipped_byte_anywhere_is_an_error_or_other_numbers(tmp_path: Path, manifest: Manifest) -> None:
    write_golden(tmp_path, frames(), features(), features())
    path = tmp_path / EXPECTED_SHIPPED
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x81]) + whole[position + 1 :])
        try:
            read_golden(tmp_path, manifest)
        except ArtefactError:
            refused += 1
    assert refused > len(whole) * 0.8
