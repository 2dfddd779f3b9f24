"""What strangers name as a set: folders without an end, archives, pictures of other kinds, names that no file can have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgec.cli import run
from edgec.errors import CalibrationError
from edgec.frames import lint as linting
from edgec.frames import load, pictures, walking
from edgec.frames.sampling import evenly
from edgec.running.sources import open_source

linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="has no /proc")


def names(frameset):
    return [frame.name for frame in frameset.frames]


@pytest.fixture
def few(monkeypatch):
    """Bounds that a test can reach."""
    monkeypatch.setattr(walking, "MOST_ENTRIES", 40)
    monkeypatch.setattr(walking, "MOST_DEPTH", 6)


@linux
@pytest.mark.parametrize("place", ["/", "//", "/proc", "/proc/self", "/sys", "/sys/kernel", "/dev", "/proc/self/root"])
@pytest.mark.parametrize("ask", [load, open_source])
def test_the_whole_system_is_not_searched(place, ask):
    with pytest.raises(CalibrationError, match="is not searched for pictures") as caught:
        ask(place)
    assert "give the folder that the pictures are in" in caught.value.remedy
    assert run(["calibration", "lint", place]) == 4


@linux
@pytest.mark.parametrize("pattern", ["/**", "/**/*.png", "/*/*.png", "/proc/**/*.png", "/sys/*", "/dev/*"])
def test_the_whole_system_is_not_searched_by_pattern_or_list(tmp_path, pattern):
    (tmp_path / "set.toml").write_text(f"name = 'x'\n[[sources]]\npath = '{pattern}'\n")
    (tmp_path / "list.txt").write_text("/\n")
    for reference in ("set.toml", "list.txt"):
        with pytest.raises(CalibrationError, match="is not searched"):
            load(str(tmp_path / reference))


@linux
def test_a_link_to_the_system_is_followed_nowhere(picture, tmp_path):
    picture("set/a.png")
    for name in ("/", "/proc", "/dev", "/usr"):
        (tmp_path / "set" / f"to{name.replace('/', '-')}").symlink_to(name)
    assert names(load(str(tmp_path / "set"))) == ["a.png"]
    (tmp_path / "system").symlink_to("/")
    with pytest.raises(CalibrationError, match="is not searched"):
        load(str(tmp_path / "system"))


@pytest.mark.parametrize("ask", [load, open_source])
def test_a_search_is_bounded(picture, tmp_path, few, ask):
    picture("set/a.png")
    for number in range(45):
        (tmp_path / "set" / f"{number}.txt").touch()
    with pytest.raises(CalibrationError, match="too much to search: over 40 files"):
        ask(str(tmp_path / "set"))


@pytest.mark.parametrize("pattern", ["set/**/*.png", "set/*", "*/*", "**", "set/**/**/**/x"])
def test_a_pattern_is_bounded(picture, tmp_path, few, pattern):
    for folder in range(8):
        for number in range(8):
            picture(f"set/{folder}/{number}.png", number)
    (tmp_path / "set.toml").write_text(f"name = 'x'\n[[sources]]\npath = '{pattern}'\n")
    with pytest.raises(CalibrationError, match="too much to search"):
        load(str(tmp_path / "set.toml"))


@pytest.mark.parametrize("text", ["set/**/x.png", "set"])
def test_depth_is_bounded(tmp_path, few, text):
    (tmp_path / "set" / "a/b/c/d/e/f/g/h/i").mkdir(parents=True)
    (tmp_path / "set.toml").write_text(f"name = 'x'\n[[sources]]\npath = '{text}'\n")
    with pytest.raises(CalibrationError, match="nested too deeply"):
        load(str(tmp_path / "set.toml"))


def test_patterns_match_as_they_always_did(picture, tmp_path):
    for name in ("one/a.png", "one/b.jpg", "one/sub/c.png", "two/d.png", "two/sub/sub/e.png", "f.png", "one/.hidden/g.png"):
        picture(f"set/{name}", len(name))

    def matched(pattern):
        (tmp_path / "set" / "set.toml").write_text(f"name = 'x'\n[[sources]]\npath = '{pattern}'\n")
        return names(load(str(tmp_path / "set" / "set.toml")))

    assert matched("*.png") == ["f.png"]
    assert matched("one/*.png") == ["one/a.png"]
    assert matched("*/*.png") == ["one/a.png", "two/d.png"]
    assert matched("**/*.png") == ["f.png", "one/a.png", "one/sub/c.png", "two/d.png", "two/sub/sub/e.png"]
    assert matched("two/**") == ["two/d.png", "two/sub/sub/e.png"]
    assert matched("one/[ab].*") == ["one/a.png", "one/b.jpg"]
    assert matched("t*/s?b") == ["two/sub/sub/e.png"]
    assert matched("../set/one/../two/*.png") == ["two/d.png"]
    assert matched(f"{tmp_path}/set/two/*.png") == ["two/d.png"]


@pytest.mark.parametrize("pattern", ["a**b/*.png", "*/" * 100 + "x.png", "x\\u0000*.png"])
def test_invalid_patterns(tmp_path, pattern):
    (tmp_path / "set.toml").write_text(f'name = "x"\n[[sources]]\npath = "{pattern}"\n')
    with pytest.raises(CalibrationError, match="is not a glob pattern"):
        load(str(tmp_path / "set.toml"))


ODD = [
    "~nosuchuser/x",
    "~nosuchuser",
    "x" * 300,
    "x" * 300 + ".png",
    "x/" * 3000 + "a.png",
    "a\udcff.png",
    "a\ud800",
    "\u202e",
    "*",
    "%s%n",
    "-",
]


@pytest.mark.parametrize("name", [*ODD, "a\0b", "a\0.png", "a\nb.toml", "a.toml", "a.txt", "", " "])
def test_missing_names_are_one_clear_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ask in (load, open_source):
        with pytest.raises(CalibrationError):
            ask(name)
    for command in (["calibration", "lint", name], ["calibration", "show", name], ["build", "demo", "--calibration", name]):
        assert run(command) in (2, 4)


@pytest.mark.parametrize("name", ODD)
def test_missing_names_in_lists_and_manifests(name, picture, tmp_path):
    picture("good.png")
    if "\ud800" not in name:
        (tmp_path / "list.txt").write_text(f"{name}\ngood.png\nx\0y.png\n", encoding="utf-8", errors="surrogateescape")
        if "\udcff" in name:
            with pytest.raises(CalibrationError, match="not UTF-8"):
                load(str(tmp_path / "list.txt"))
        else:
            loaded = load(str(tmp_path / "list.txt"))
            assert names(loaded) == ["good.png"]
            assert len(loaded.skipped) == 2
    escaped = "".join(f"\\u{ord(each):04x}" for each in name if not "\ud800" <= each <= "\udfff")
    (tmp_path / "set.toml").write_text(f'name = "x"\n[[sources]]\npath = ["good.png", "{escaped}"]\n')
    if name == "*":
        assert names(load(str(tmp_path / "set.toml"))) == ["good.png"]
    else:
        with pytest.raises(CalibrationError, match="has no pictures, videos or bags"):
            load(str(tmp_path / "set.toml"))


def test_names_that_are_not_utf_8_are_frames_like_others(picture, tmp_path):
    made = picture("set/a.png")
    for name in ("b\udcff.png", "c\n.png", "d\x1b[2J.png", "e\u202e.png", "f\ud7ff.png"):
        (tmp_path / "set" / name).write_bytes(made.read_bytes())
    loaded = load(str(tmp_path / "set"))
    assert len(loaded.frames) == 6
    assert "b\\xff.png" in names(loaded)
    assert len(loaded.sha256) == 64
    for frame in loaded.frames:
        frame.name.encode()
        assert frame.read().shape == (72, 96, 3)


def test_names_that_differ_by_composition_alone_are_reported(picture, tmp_path):
    picture("set/caf\u00e9.png", 1)
    picture("set/cafe\u0301.png", 2)
    loaded = load(str(tmp_path / "set"))
    if len(list((tmp_path / "set").iterdir())) == 2:  # not on a Mac, where they are one
        assert names(loaded) == ["caf\u00e9.png"]
        assert loaded.skipped == (("caf\u00e9.png", "another file's name differs only in how Unicode composes it"),)


def test_what_was_left_out_is_counted_by_suffix(picture, tmp_path, capsys):
    for number in range(10):
        picture(f"set/photo{chr(97 + number)}.png", number)
    for number in range(12):
        (tmp_path / "set" / f"{number}.HEIC").touch()
    for name in ("a.avif", "labels.json", "README", ".hidden.heic"):
        (tmp_path / "set" / name).touch()
    loaded = load(str(tmp_path / "set"))
    told = "left out by their suffix: 12 .heic, 1 .avif, 1 .json, 1 without a suffix"
    assert sorted(loaded.notes[0].split(": ")[1].split(", ")) == sorted(told.split(": ")[1].split(", "))
    assert [finding.text for finding in linting.lint(loaded).findings if finding.check == "read"] == list(loaded.notes)
    assert run(["calibration", "show", str(tmp_path / "set")]) == 0
    assert "12 .heic" in capsys.readouterr().out
    from edgec.request import BuildRequest, _frames

    assert loaded.notes[0] in _frames(BuildRequest("demo", calibration=str(tmp_path / "set")))[1]


@pytest.mark.parametrize(
    ("suffix", "remedy"),
    [
        ("heic", "heif-convert"),
        ("HEIF", "heif-convert"),
        ("avif", "magick"),
        ("jxl", "djxl"),
        ("gif", "magick"),
        ("zip", "unpack"),
        ("nv12", "--raw-format"),
        ("dng", "demosaic"),
        ("active", "rename"),
    ],
)
@pytest.mark.parametrize("ask", [load, open_source])
def test_a_folder_without_frames_says_so(tmp_path, suffix, remedy, ask):
    for number in range(3):
        (tmp_path / f"{number}.{suffix}").write_bytes(b"x")
    with pytest.raises(CalibrationError, match="no usable frame") as caught:
        ask(str(tmp_path))
    assert f"3 .{suffix.lower()}" in str(caught.value)
    if ask is load:
        assert remedy in caught.value.remedy


@pytest.mark.parametrize("suffix", [*sorted(walking._REMEDIES), ".tar.gz", ".RAW", ".npz"])
@pytest.mark.parametrize("ask", [load, open_source])
def test_archives_and_logs_given_as_a_set_say_what_to_do(tmp_path, suffix, ask):
    (tmp_path / f"a{suffix}").write_bytes(b"PK\3\4")
    with pytest.raises(CalibrationError, match=r"is not a calibration set|is no source of frames") as caught:
        ask(str(tmp_path / f"a{suffix}"))
    assert caught.value.evidence
    assert "suffix" in caught.value.evidence[0]
    if suffix != ".npz":
        words = ("unpack it", "convert it", "demosaic it", "--raw-format", "unpack the file", "rename it")
        assert any(word in caught.value.remedy for word in words)


def test_byte_order_marks_are_ignored(picture, tmp_path):
    picture("a.png")
    (tmp_path / "set.toml").write_text("\ufeffname = 'x'\n[[sources]]\npath = 'a.png'\n", encoding="utf-8")
    (tmp_path / "list.txt").write_text("\ufeffa.png\r\n", encoding="utf-8")
    assert names(load(str(tmp_path / "set.toml"))) == names(load(str(tmp_path / "list.txt"))) == ["a.png"]


def test_manifests_and_lists_are_read_up_to_a_limit(picture, tmp_path, monkeypatch):
    picture("a.png")
    paths = ",\n".join(f"'pictures/{number:09d}.png'" for number in range(300_000))
    (tmp_path / "set.toml").write_text(f"name = 'x'\n[[sources]]\npath = [{paths}]\n")
    with pytest.raises(CalibrationError, match="cannot be read") as caught:
        load(str(tmp_path / "set.toml"))
    assert "too large" in str(caught.value)
    assert ".txt" in caught.value.remedy
    (tmp_path / "list.txt").write_text("a.png\n" + "\n".join(f"pictures/{number}.png" for number in range(20_000)))
    assert names(load(str(tmp_path / "list.txt"))) == ["a.png"]
    monkeypatch.setattr("edgec.frames.loading.LIST_LIMIT", 1000)
    with pytest.raises(CalibrationError, match="cannot be read"):
        load(str(tmp_path / "list.txt"))
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe.toml")
    for name in ("pipe.txt", "pipe.toml"):
        with pytest.raises(CalibrationError, match="not a regular file"):
            load(str(tmp_path / name))


def test_thousands_that_are_missing_are_reported_in_a_few_lines(picture, tmp_path, capsys):
    picture("a.png")
    (tmp_path / "list.txt").write_text("a.png\n" + "\n".join(f"gone{number}.png" for number in range(5000)))
    assert run(["calibration", "lint", str(tmp_path / "list.txt")]) == 4
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 200
    assert "4950 more cannot be used" in " ".join(printed.split())


@pytest.mark.parametrize("kind", ["folder", "list", "manifest"])
def test_lint_reads_a_sample_of_a_large_set(picture, tmp_path, monkeypatch, capsys, kind):
    """Counted, not timed: neither decoded, nor hashed, nor opened."""
    made = picture("set/0000.jpg").read_bytes()
    for number in range(1, 500):
        (tmp_path / "set" / f"{number:04d}.jpg").write_bytes(made)
    (tmp_path / "list.txt").write_text("\n".join(f"set/{number:04d}.jpg" for number in range(500)))
    (tmp_path / "set.toml").write_text(
        "name = 'x'\n[[sources]]\npath = 'set/0[0-2]*.jpg'\n[[sources]]\npath = 'set/0[34]*.jpg'\n"
    )
    monkeypatch.setattr(linting, "MOST_FRAMES", 50)
    opened: set[str] = set()
    real = pictures._open

    def counting(path):
        opened.add(path.name)
        return real(path)

    monkeypatch.setattr(pictures, "_open", counting)
    reference = {"folder": "set", "list": "list.txt", "manifest": "set.toml"}[kind]
    run(["calibration", "lint", str(tmp_path / reference)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "a sample was looked at: 50 of 500 frames, spread evenly over the set" in printed
    assert "1 usable frames" in printed, "the same picture counts once"
    assert sorted(opened) == [f"{number:04d}.jpg" for number in range(0, 500, 10)]


def test_a_small_set_is_read_whole_and_a_sample_has_no_hash(picture, tmp_path):
    for number in range(9):
        picture(f"set/{number}.png", number)
    whole, part = load(str(tmp_path / "set"), most=9), load(str(tmp_path / "set"), most=8)
    assert (whole.sampled_of, whole.sha256) == (None, load(str(tmp_path / "set")).sha256)
    assert (part.sampled_of, part.sha256, len(part.frames)) == (9, "", 8)
    assert evenly(range(10), 3) == [0, 3, 6]
    assert evenly(range(2), 3) == [0, 1]
    assert evenly([], 3) == []


def test_a_colour_profile_or_a_gamma_is_reported(tmp_path, pixels):
    from PIL import Image, ImageCms

    (tmp_path / "set").mkdir()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for number, profile in enumerate((srgb, other, other, b"nonsense" * 40)):
        Image.fromarray(pixels(number)).save(tmp_path / "set" / f"{number}.jpg", icc_profile=profile)
    Image.fromarray(pixels(5)).save(tmp_path / "set" / "gamma.png")
    content = (tmp_path / "set" / "gamma.png").read_bytes()
    from tests.frames.test_depth import chunk

    (tmp_path / "set" / "gamma.png").write_bytes(content[:33] + chunk(b"gAMA", (100_000).to_bytes(4, "big")) + content[33:])
    notes = load(str(tmp_path / "set")).notes
    assert len(notes) == 3
    assert notes[0].startswith("2 pictures say that they have the colour profile ")
    assert any("that cannot be read" in note for note in notes)
    assert any("a gamma of 1," in note for note in notes)
