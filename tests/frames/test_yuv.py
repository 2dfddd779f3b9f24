"""Frames in YUV: colours to a grey level, layouts, and raw dumps in a stated format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec import extras
from edgec.errors import CalibrationError, MissingPackage, RequestError
from edgec.frames import Reading, load, raw, require_use, yuv
from tests.support.yuv import planes_of, rgb_of

pytest.importorskip("av", reason="PyAV is not installed: pip install edgec[video]")

H, W = 48, 64


@pytest.mark.parametrize("span", ["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("layout", ["nv12", "nv21", "nv24", "yuyv", "uyvy"])
def test_colours_are_those_of_the_standard_to_a_grey_level(layout, matrix, span):
    rows, planes = planes_of(layout, H, W)
    actual = yuv.to_rgb(rows, layout, H, W, yuv.Colours(matrix, span))
    difference = actual.astype(int) - rgb_of(*planes, matrix, span)
    assert int(np.abs(difference).max()) <= 1
    assert abs(float(difference.mean())) < 0.02, "no bias"


def test_black_white_and_grey_are_exact():
    for value, expected in ((16, 0), (235, 255), (126, 128)):
        rows = np.full((H * 3 // 2, W), 128, np.uint8)
        rows[:H] = value
        assert np.unique(yuv.to_rgb(rows, "nv12", H, W)).tolist() == [expected]


# --- dumps


def dump(path: Path, layout: str, count: int, surplus: int = 0) -> np.ndarray:
    """Frames of different brightness; what their colours should be, [N, H, W, 3]."""
    rows, (y, u, v) = planes_of(layout, H, W)
    data, expected = b"", []
    for number in range(count):
        frame = rows.copy()
        place = {"yuyv": np.s_[:, ::2], "uyvy": np.s_[:, 1::2]}.get(layout, np.s_[:H])
        frame[place] = np.roll(y, 7 * number, axis=1)
        data += np.pad(frame, ((0, 0), (0, surplus)), constant_values=77).tobytes()
        expected.append(rgb_of(np.roll(y, 7 * number, axis=1), u, v, "bt601", "limited"))
    path.write_bytes(data)
    return np.stack(expected)


@pytest.mark.parametrize(
    ("name", "layout", "stated", "surplus"),
    [
        ("walk.nv12", "nv12", "nv12,width=64,height=48", 0),
        ("walk.raw", "nv12", "NV12, width=64, height=48, stride=80", 16),
        ("walk.yuv", "nv21", "nv21,height=48,width=64", 0),
        ("walk.yuyv", "yuyv", "yuyv,width=64,height=48", 0),
        ("walk.yuyv", "yuyv", "yuy2,width=64,height=48,stride=160,matrix=bt601,range=limited", 32),
        ("walk.uyvy", "uyvy", "uyvy,width=64,height=48", 0),
    ],
)
def test_a_dump_is_frames_in_the_stated_format(tmp_path, name, layout, stated, surplus):
    expected = dump(tmp_path / name, layout, 9, surplus)
    reading = Reading(raw=raw.parse(stated))
    loaded = load(str(tmp_path / name), reading=reading)
    assert [frame.name for frame in loaded.frames] == [f"{name}#{number:06d}" for number in range(9)]
    assert all(
        np.abs(frame.read().astype(int) - colours).max() <= 1 for frame, colours in zip(loaded.frames, expected, strict=True)
    )
    assert loaded.skipped == ()
    require_use(reading, loaded)


def test_the_format_is_part_of_the_hash(tmp_path):
    dump(tmp_path / "a.raw", "nv12", 9)
    hashes = {
        load(str(tmp_path / "a.raw"), reading=Reading(raw=raw.parse(f"nv12,width=64,height=48{more}"))).sha256
        for more in ("", ",matrix=bt709", ",range=full", ",matrix=bt601")
    }
    assert len(hashes) == 3


def test_a_folder_of_dumps_and_a_manifest_that_states_their_format(tmp_path):
    (tmp_path / "set").mkdir()
    dump(tmp_path / "set" / "a.nv12", "nv12", 3)
    dump(tmp_path / "set" / "b.nv12", "nv12", 3)
    stated = "nv12,width=64,height=48"
    (tmp_path / "set.toml").write_text(f'name = "yard"\n[[sources]]\npath = "set"\nraw = "{stated}"\n')
    by_option = load(str(tmp_path / "set"), reading=Reading(raw=raw.parse(stated)))
    by_manifest = load(str(tmp_path / "set.toml"))
    # The frames of both are the same, and a picture is taken once in a build.
    assert [frame.name for frame in by_option.frames] == [f"{each}.nv12#{number:06d}" for each in "ab" for number in range(3)]
    assert len(by_manifest.frames) == 6
    (tmp_path / "set.toml").write_text('name = "yard"\n[[sources]]\npath = "set"\nraw = "nv12"\n')
    with pytest.raises(CalibrationError, match="not valid") as caught:
        load(str(tmp_path / "set.toml"))
    assert "it states no size" in caught.value.evidence[0]


@pytest.mark.parametrize("place", ["set", "set/a.nv12"])
def test_a_dump_without_a_format_asks_for_it(tmp_path, place):
    (tmp_path / "set").mkdir()
    dump(tmp_path / "set" / "a.nv12", "nv12", 3)
    with pytest.raises(CalibrationError) as caught:
        load(str(tmp_path / place))
    assert "--raw-format nv12,width=640,height=480" in caught.value.remedy


def test_what_is_no_whole_frame_is_named(tmp_path):
    dump(tmp_path / "a.nv12", "nv12", 3)
    (tmp_path / "a.nv12").write_bytes((tmp_path / "a.nv12").read_bytes()[:-100])
    stated = raw.parse("nv12,width=64,height=48")
    loaded = load(str(tmp_path / "a.nv12"), reading=Reading(raw=stated))
    assert len(loaded.frames) == 2
    ((name, reason),) = loaded.skipped
    assert name == "a.nv12#000002"
    assert reason == f"4,508 bytes are no whole frame of {stated}: it is cut short, or that is not its format"
    with pytest.raises(CalibrationError) as caught:
        load(str(tmp_path / "a.nv12"), reading=Reading(raw=raw.parse("nv12,width=640,height=480")))
    assert "less than one frame of nv12,width=640,height=480, which has 460,800" in caught.value.evidence[0]


@pytest.mark.parametrize(
    ("stated", "reason", "remedy"),
    [
        ("nv12", "it states no size", raw.EXAMPLE),
        ("nv12,width=640", "it states no size", raw.EXAMPLE),
        ("nv12,640x480", "'640x480' is no setting", raw.EXAMPLE),
        ("nv12,width=64,width=64,height=48", "given twice", raw.EXAMPLE),
        ("nv12,width=64,height=-48", "height is a number of pixels, not '-48'", raw.EXAMPLE),
        ("nv12,width=63,height=48", "its width of 63 is odd", raw.EXAMPLE),
        ("nv12,width=64,height=47", "its height of 47 is odd", raw.EXAMPLE),
        ("yuyv,width=64,height=48,stride=64", "a row of 64 pixels has 128 bytes", raw.EXAMPLE),
        ("nv12,width=64,height=48,matrix=bt2020", "matrix is bt601 or bt709, not 'bt2020'", raw.EXAMPLE),
        ("nv12,width=65536,height=65536", "larger than 89 megapixels", raw.EXAMPLE),
        ("p010,width=64,height=48", "'p010' is no layout", "nv12, nv21, yuyv, uyvy"),
        ("bayer_rggb8,width=64,height=48", "'bayer_rggb8' is no layout", "demosaic"),
        ("srggb10,width=64,height=48", "'srggb10' is no layout", "demosaic"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(stated, reason, remedy):
    with pytest.raises(RequestError, match="is no format of raw frames") as caught:
        raw.parse(stated)
    assert reason in caught.value.evidence[0]
    assert remedy in caught.value.remedy


def test_a_format_is_written_as_it_is_read():
    for text in (
        "nv12,width=64,height=48",
        "yuyv,width=64,height=48,stride=160",
        "nv12,width=64,height=48,matrix=bt709,range=full",
    ):
        assert str(raw.parse(text)) == text


def test_a_format_that_nothing_uses_is_refused(picture, tmp_path):
    picture("set/a.png")
    reading = Reading(raw=raw.parse("nv12,width=64,height=48"))
    with pytest.raises(RequestError, match="does not apply") as caught:
        require_use(reading, load(str(tmp_path / "set"), reading=reading))
    assert "--raw-format is about raw dumps (.nv12" in caught.value.evidence[0]


def test_without_pyav_a_dump_says_what_to_install(tmp_path, monkeypatch):
    dump(tmp_path / "a.nv12", "nv12", 3)
    installed = extras.installed
    monkeypatch.setattr(extras, "installed", lambda package: package != "av" and installed(package))
    with pytest.raises(MissingPackage) as caught:
        load(str(tmp_path / "a.nv12"), reading=Reading(raw=raw.parse("nv12,width=64,height=48")))
    assert caught.value.remedy == "pip install 'edgec[video]'"
