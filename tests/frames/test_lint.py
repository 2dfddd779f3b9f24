from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgec.frames import Frame, load, split
from edgec.frames.lint import lint, lint_chosen, repeating
from edgec.frames.measuring import Look, look, near
from edgec.model.spec import Size


def findings_of(result, check):
    return [finding for finding in result.findings if finding.check == check]


def showing(frameset, pictures):
    """A set of single frames that show these pictures."""
    frames = tuple(
        Frame(f"{number}", f"{number}", 0, lambda picture=picture: picture, digest=f"{number}")
        for number, picture in enumerate(pictures)
    )
    return replace(frameset(), frames=frames)


def test_a_good_set_has_no_errors_and_no_warnings(frameset, pixels):
    result = lint(showing(frameset, [pixels(number) for number in range(40)]), size=Size(48, 64))
    assert [finding for finding in result.findings if finding.level != "note"] == []
    assert (result.usable, result.sources, result.calibration, result.validation) == (40, 40, 30, 10)


@pytest.mark.parametrize(("count", "level"), [(0, "error"), (7, "error"), (8, "warning"), (31, "warning"), (32, None)])
def test_too_few_frames(frameset, count, level):
    findings = findings_of(lint(frameset(*((f"photo{number}", 0, number) for number in range(count)))), "count")
    assert [finding.level for finding in findings] == ([level] if level else [])


def test_damaged_frames_are_named(frameset):
    made = frameset(*((f"photo{number}", 0, number) for number in range(40)), ("bad", 0, None))
    result = lint(replace(made, skipped=(("worse.jpg", "empty file"),)))
    assert [finding.text for finding in findings_of(result, "damaged")] == ["worse.jpg: empty file", "bad#0: cut short"]
    assert not result.has_errors


def test_the_hash_knows_a_picture_again_and_others_apart(pixels):
    def hashed(picture):
        return look(np.asarray(picture)).hash

    scenes = [pixels(seed, 240, 320) for seed in range(20)]
    for scene in scenes:
        image = Image.fromarray(scene)
        changed = [image.resize((200, 150)), image.point(lambda value: int(value * 0.8) + 10), image.crop((3, 3, 317, 237))]
        assert all(list(near([hashed(scene)], [hashed(one)], 24)) for one in changed)
    pairs = set(near([hashed(scene) for scene in scenes], [hashed(scene) for scene in scenes], 24))
    assert pairs == {(number, number) for number in range(20)}


def test_near_duplicates_of_another_source_are_told_pair_by_pair(frameset, pixels):
    dimmed = (pixels(3) * 0.9).astype(np.uint8)
    result = lint(showing(frameset, [*(pixels(number) for number in range(40)), dimmed]))
    (finding,) = findings_of(result, "near-duplicates")
    assert finding.level == "warning"
    assert finding.frames == ("40",)
    assert "40 = 3" in finding.text


def test_a_still_cameras_frames_are_a_note(frameset, pixels):
    def noisy(number):
        return np.clip(pixels(1).astype(int) + np.random.default_rng(number).integers(-3, 4, (72, 96, 3)), 0, 255).astype(
            np.uint8
        )

    frames = tuple(Frame(f"v#{n}", "v", n, lambda n=n: noisy(n), digest=str(n)) for n in range(40))
    result = lint(replace(frameset(), frames=frames))
    (duplicates,) = findings_of(result, "near-duplicates")
    assert duplicates.level == "note"
    assert "39 of 40" in duplicates.text
    (leakage,) = findings_of(result, "leakage")
    assert leakage.level == "warning"


def test_leakage_between_sources_is_an_error(frameset, pixels):
    pictures = [pixels(number) for number in range(30)]
    made = showing(frameset, [*pictures, *((picture * 0.9).astype(np.uint8) for picture in pictures[:10])])
    frames = tuple(replace(f, side="validation" if int(f.name) >= 30 else "calibration") for f in made.frames)
    result = lint(replace(made, frames=frames))
    (leakage,) = findings_of(result, "leakage")
    assert leakage.level == "error"
    assert leakage.frames == tuple(str(number) for number in range(30, 40))
    assert result.has_errors


def test_the_same_file_on_both_sides_is_an_error(frameset):
    made = frameset(*((f"photo{number}", 0, number) for number in range(20)))
    calibration = tuple(replace(frame, side="calibration") for frame in made.frames)
    validation = tuple(replace(f, name=f"again {f.name}", source="again", side="validation") for f in made.frames[:9])
    result = lint(replace(made, frames=calibration + validation))
    assert [finding.level for finding in findings_of(result, "leakage")] == ["error"]


def test_sizes_are_judged_by_what_the_crop_does(frameset, pixels):
    made = showing(frameset, [pixels(number, 64, 128) for number in range(32)])
    levels = {finding.check: finding.level for finding in lint(made, size=Size(64, 64)).findings}
    assert levels["aspect"] == "warning"
    assert "size" not in levels
    assert findings_of(lint(made, size=Size(64, 128)), "aspect") == []
    (small,) = findings_of(lint(made, size=Size(128, 256)), "size")
    assert len(small.frames) == 32
    (stretched,) = findings_of(lint(made, size=Size(64, 64), crop="resize"), "aspect")
    assert "stretched" in stretched.text
    assert findings_of(lint(made), "aspect") == []


def test_a_size_that_is_given_width_first_is_asked_about(frameset, pixels):
    wide = [pixels(number, 60, 80) for number in range(32)]
    made = showing(frameset, wide)
    (asked,) = findings_of(lint(made, size=Size(640, 480)), "orientation")
    assert "is 480x640 meant?" in asked.text
    assert "32 of 32 frames are wider than high" in asked.text
    assert "type --input-size 480x640" in asked.text
    assert findings_of(lint(made, size=Size(640, 480)), "aspect") == []
    (asked,) = findings_of(lint(showing(frameset, [pixels(n, 80, 60) for n in range(32)]), size=Size(480, 640)), "orientation")
    assert "is 640x480 meant?" in asked.text
    for size in (Size(480, 640), Size(480, 480)):
        assert findings_of(lint(made, size=size), "orientation") == []
    mixed = showing(frameset, [*wide[:16], *(pixels(number, 80, 60) for number in range(16))])
    assert findings_of(lint(mixed, size=Size(640, 480)), "orientation") == []


def test_what_a_build_has_drawn_is_linted_without_decoding_it_again(frameset, pixels):
    """And after it came back from the cache as JSON."""
    still = [np.clip(pixels(1).astype(int) + seed % 3, 0, 255).astype(np.uint8) for seed in range(40)]
    for number, frame in enumerate(still):
        frame[0, number] = 255  # so that none is a copy
    frames = tuple(Frame(f"v#{n}", "v", n, lambda n=n: still[n], digest=str(n)) for n in range(40))
    parts = split(replace(frameset(), frames=frames))
    kept = {name: Look.from_json(json.loads(json.dumps(each.as_json()))) for name, each in parts.looks.items()}
    assert {frame.name for frame in (*parts.calibration, *parts.validation)} == kept.keys()
    for one in (parts, replace(parts, looks=kept)):
        found = {finding.check: finding for finding in lint_chosen(one, [Size(96, 72)])}
        assert found["leakage"].text.startswith("10 of 10 validation frames nearly repeat calibration frames")
        assert "is 72x96 meant?" in found["orientation"].text
        assert repeating(one) == 10
    assert lint_chosen(parts, [Size(96, 72)], random=True) == ()


def test_exposure(frameset, pixels):
    dark = [(pixels(number) * 0.05).astype(np.uint8) for number in range(20)]
    bright = [np.full((72, 96, 3), 253, np.uint8)]
    usual = [pixels(number) for number in range(20, 40)]
    findings = {
        finding.text.split(" are ")[1].split(":")[0]: finding
        for finding in findings_of(lint(showing(frameset, dark + bright + usual)), "exposure")
    }
    assert findings["too dark"].level == "warning"
    assert len(findings["too dark"].frames) == 20
    assert findings["too bright"].level == "note"
    assert "20" in findings["flat, with hardly any contrast"].frames


def test_one_lighting_is_noted(frameset, pixels):
    even = [
        np.clip(pixels(number).astype(int) - int(pixels(number).mean()) + 120, 0, 255).astype(np.uint8) for number in range(32)
    ]
    assert any("one lighting" in finding.text for finding in findings_of(lint(showing(frameset, even)), "exposure"))


def test_colour_coverage(frameset, pixels):
    grey = [np.repeat(pixels(number)[:, :, :1], 3, axis=2) for number in range(32)]
    assert "all frames are grey" in findings_of(lint(showing(frameset, grey)), "colour")[0].text
    red = [picture * np.array([1, 0, 0], np.uint8) for picture in grey]
    assert "1 of 12 hues" in findings_of(lint(showing(frameset, red)), "colour")[0].text
    assert findings_of(lint(showing(frameset, [pixels(number) for number in range(32)])), "colour") == []


def test_random_noise_is_flagged():
    result = lint(load("random:20"))
    assert [finding.check for finding in result.findings] == ["random"]
    assert result.has_errors


def test_progress_is_told_frame_by_frame(frameset):
    told: list[int] = []
    lint(frameset(*((f"photo{number}", 0, number) for number in range(9))), progress=told.append)
    assert told == list(range(1, 10))


def test_the_shared_sets(data):
    calibration = lint(load(str(data / "calibration")), size=Size(224, 224))
    assert not calibration.has_errors
    camera = [finding for finding in findings_of(calibration, "near-duplicates") if finding.text.startswith("vtest_*.jpg")]
    assert camera[0].level == "note"
    assert not any(finding.level == "warning" for finding in findings_of(calibration, "near-duplicates"))
