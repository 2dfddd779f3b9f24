from __future__ import annotations

import pytest

from edgec.errors import CalibrationError
from edgec.frames import load, split


@pytest.fixture
def yard(picture, tmp_path):
    """Writes a manifest beside three sources of pictures, and loads it."""
    for number in range(12):
        picture(f"morning/{number:03d}.png", number)
        picture(f"evening/{number:03d}.png", 100 + number)
    for number, name in enumerate(("cat", "dog", "yard[1]")):
        picture(f"photos/{name}.png", 200 + number)

    def write(text: str):
        path = tmp_path / "yard.toml"
        path.write_text(text, encoding="utf-8")
        return load(str(path))

    return write


def names(frames):
    return [frame.name for frame in frames]


def test_sources_are_files_folders_globs_and_lists(yard):
    loaded = yard(
        'name = "yard"\ndescription = "two walks"\n[[sources]]\npath = "morning"\n'
        '[[sources]]\npath = ["photos/*g.png", "photos/yard[1].png"]\n'
    )
    assert (loaded.name, loaded.description) == ("yard", "two walks")
    assert names(loaded.frames)[0] == "morning/000.png"
    assert names(loaded.frames)[12:] == ["photos/dog.png", "photos/yard[1].png"]


def test_every_and_limit_thin_a_source(yard):
    loaded = yard('name = "y"\n[[sources]]\npath = "morning"\nevery = 3\n[[sources]]\npath = "evening/*.png"\nlimit = 4\n')
    assert names(loaded.frames)[:4] == [f"morning/{number:03d}.png" for number in (0, 3, 6, 9)]
    drawn = [frame.order for frame in loaded.frames[4:]]
    assert [order // 3 for order in drawn] == [0, 1, 2, 3]


def test_the_seed_draws_and_splits(yard):
    text = 'name = "y"\nseed = {}\n[[sources]]\npath = "."\nlimit = 10\n'
    one, again, other = yard(text.format(1)), yard(text.format(1)), yard(text.format(2))
    assert names(one.frames) == names(again.frames) != names(other.frames)
    assert one.sha256 == again.sha256 != other.sha256
    assert one.seed == 1


def test_whole_sources_are_for_validation(yard):
    loaded = yard(
        'name = "y"\n[split]\nsources = ["dusk"]\n[[sources]]\npath = "morning"\n[[sources]]\nname = "dusk"\npath = "evening"\n'
    )
    parts = split(loaded)
    assert {frame.source for frame in parts.validation} == {"evening/*.png"}
    assert {frame.source for frame in parts.calibration} == {"morning/*.png"}
    assert len(parts.calibration) == len(parts.validation) == 12


def test_the_share_is_for_validation(yard):
    loaded = yard('name = "y"\n[split]\nshare = 0.5\n[[sources]]\npath = "morning"\n')
    assert len(split(loaded).validation) == 6


def test_a_sources_crop_wins_over_the_sets(yard):
    loaded = yard('name = "y"\ncrop = "pad"\n[[sources]]\npath = "morning"\n[[sources]]\npath = "evening"\ncrop = "resize"\n')
    assert {(frame.source, frame.crop) for frame in loaded.frames} == {("morning/*.png", "pad"), ("evening/*.png", "resize")}


def test_crop_and_split_are_part_of_the_hash(yard):
    plain = 'name = "y"\n{}[[sources]]\npath = "morning"\n[[sources]]\npath = "evening"\n'
    settings = ("", 'crop = "pad"\n', "[split]\nshare = 0.5\n", '[split]\nsources = ["evening"]\n')
    assert len({yard(plain.format(setting)).sha256 for setting in settings}) == 4


def test_the_hash_is_checked(yard):
    text = 'name = "y"\nsha256 = "{}"\n[[sources]]\npath = "morning"\n'
    true = yard(text.format("")).sha256
    assert yard(text.format(true)).sha256 == true
    with pytest.raises(CalibrationError, match="content has changed") as caught:
        yard(text.format("0" * 64))
    assert true in str(caught.value)
    assert "0" * 64 in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[[sources]]\npath = 'morning'\n", "name"),
        ("name = 'y'\n", "sources"),
        ("name = 'y'\n[[sources]]\n", "sources.0.path"),
        ("name = 'y'\n[[sources]]\npath = 3\n", "sources.0.path"),
        ("name = 'y'\n[[sources]]\npath = 'morning'\nevery = 0\n", "sources.0.every"),
        ("name = 'y'\n[[sources]]\npath = 'morning'\nstep = 2\n", "sources.0.step"),
        ("name = 'y'\ncrop = 'left'\n[[sources]]\npath = 'morning'\n", "crop"),
        ("name = 'y'\nsha256 = 'abc'\n[[sources]]\npath = 'morning'\n", "sha256"),
        ("name = 'y'\n[split]\nshare = 0.9\n[[sources]]\npath = 'morning'\n", "split.share"),
        ("name = 'y'\n[split]\nsources = ['night']\n[[sources]]\npath = 'morning'\n", "split.sources.0"),
        ("name = 'y'\n[[sources]]\npath = 'nowhere'\n", "sources.0.path"),
        ("name = 'y'\n[[sources]]\npath = 'morning'\n[[sources]]\npath = 'x/*.png'\n", "sources.1.path"),
    ],
)
def test_errors_name_the_key(yard, text, key):
    with pytest.raises(CalibrationError) as caught:
        yard(text)
    assert any(fact.startswith(f"{key}:") for fact in caught.value.evidence), str(caught.value)


def test_broken_toml_says_where(yard):
    with pytest.raises(CalibrationError, match=r"yard\.toml cannot be read") as caught:
        yard("name = \n")
    assert "line 1" in str(caught.value)


def test_a_file_belongs_to_one_source(yard):
    with pytest.raises(CalibrationError, match="belongs to two sources"):
        yard('name = "y"\n[[sources]]\npath = "morning"\n[[sources]]\npath = "morning/00?.png"\n')


def test_damaged_files_of_all_sources_are_listed(yard, tmp_path):
    (tmp_path / "morning" / "bad.jpg").write_text("hello")
    (tmp_path / "evening" / "worse.jpg").touch()
    loaded = yard('name = "y"\n[[sources]]\npath = "morning"\n[[sources]]\npath = "evening"\n')
    assert [name for name, _ in loaded.skipped] == ["morning/bad.jpg", "evening/worse.jpg"]
