"""`edgec run` as it is typed, on an artefact that was really built."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.building import build
from edgec.model.spec import Size
from edgec.request import BuildRequest
from tests.support import heads as made
from tests.support.commands import SECONDS, command, edgec, environment, python
from tests.support.meaning import write_meaning

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meaning(tmp_path_factory.mktemp("run") / "colours.edgec")


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a minute at ten frames a second."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install edgec[video]")
    path = tmp_path_factory.mktemp("walk") / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(600):
            picture = np.full((32, 48, 3), (number % 256, 90, 30), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_built_artefact_s_features_and_pictures(say: Said, workplace: Path, tmp_path: Path) -> None:
    features, drawn = tmp_path / "out.npz", tmp_path / "drawn"
    code, said, aside = say(
        "run", workplace / "made.edgec", workplace / "frames", "--limit", 3, "--features", features, "--output", drawn
    )
    assert code == 0, aside
    lines = said.splitlines()
    assert lines[0].split() == ["min", "ms", "p50", "ms", "p90", "ms", "p99", "ms", "max", "ms", "mean", "ms"]
    facts = {line.split("  ")[0].strip(): " ".join(line.split()) for line in lines if line and not line.startswith(" ")}
    assert facts["frames"] == "frames 3 done, as many as --limit asks for"
    assert "of 3 frames" in facts["drift"]
    assert facts["evidence"].startswith(("evidence measured on host: ", "evidence measured on target: "))
    with np.load(features, allow_pickle=False) as result:
        assert result["frame"].tolist() == ["scene a.png", "scene b.png", "scene c.png"]
        assert result["cls"].shape == (3, 64)
        assert (result["drift"] >= 0).all()
        assert result["patches"].shape == (3, 2, 3, 64)
    pages = sorted(drawn.iterdir())
    assert [path.name for path in pages] == [f"00000{number}-scene-{letter}.png" for number, letter in enumerate("abc")]
    sizes = set()
    for page in pages:
        with Image.open(page) as picture:
            picture.load()
            sizes.add(picture.size)
    assert len(sizes) == 1


def test_the_features_are_those_that_the_build_recorded(say: Said, workplace: Path, tmp_path: Path) -> None:
    """Golden frames, fed through a picture file each."""
    golden = workplace / "made.edgec" / "golden"
    frames = np.load(golden / "frames.npz")["frames"]
    for number, frame in enumerate(frames):
        (tmp_path / "golden").mkdir(exist_ok=True)
        Image.fromarray(frame).save(tmp_path / "golden" / f"{number}.png")
    assert say("run", workplace / "made.edgec", tmp_path / "golden", "--features", tmp_path / "out.npz")[0] == 0
    shipped = np.load(golden / "expected_shipped.npz")
    for name, expected in shipped.items():
        assert np.allclose(np.load(tmp_path / "out.npz")[name], expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_heads_that_were_built_in(say: Said, workplace: Path, tmp_path: Path) -> None:
    heads = (made.linear(tmp_path, 64, name="kind"), made.segmentation(tmp_path, 64, name="floor"))
    build(
        BuildRequest(
            str(workplace / "checkpoint"),
            target=str(workplace / "board.toml"),
            calibration=str(workplace / "frames"),
            size=Size(32, 48),
            precision="fp32",
            iterations=5,
            heads=tuple(f"{head.name}={head.path}" for head in heads),
            output=tmp_path / "heads.edgec",
        )
    )
    golden = tmp_path / "heads.edgec" / "golden"
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(np.load(golden / "frames.npz")["frames"]):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number}.png")
    where = ("--features", tmp_path / "out.npz", "--output", tmp_path / "drawn")
    code, said, aside = say("run", tmp_path / "heads.edgec", tmp_path / "frames", "--json", *where)
    assert code == 0, aside
    shipped, result = np.load(golden / "expected_shipped.npz"), np.load(tmp_path / "out.npz")
    *lines, summary = map(json.loads, said.splitlines())
    assert (result["floor"] == shipped["floor"]).mean() > 0.999
    assert result["floor"].dtype == np.int32
    assert [line["heads"]["kind"]["index"] for line in lines] == shipped["kind"].argmax(axis=1).tolist()
    assert {line["heads"]["kind"]["class"] for line in lines} <= set(made.CLASSES)
    assert list(lines[0]["heads"]["floor"]["shares"]) == list(made.CLASSES)
    assert [written["frames"] for written in summary["written"]] == [len(lines)] * 2


def test_a_line_a_frame_where_there_are_heads(say: Said, colours: Path, tmp_path: Path) -> None:
    for name, colour in (("b.png", (0, 0, 255)), ("a.png", (255, 0, 0))):
        Image.new("RGB", (48, 32), colour).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    code, said, aside = say("run", colours, tmp_path)
    assert code == 0
    first, second, *_ = said.splitlines()
    assert first.startswith("a.png  colour: red > 99.9 % (margin 10.00); where: red 100.0 %; bright: 85 to 85, median 85")
    assert second.startswith("b.png  colour: blue > 99.9 %")
    assert "left out: broken.png: " in aside
    assert "frames" in said
    assert "2 done, to the source's end; 1 damaged and left out" in " ".join(said.split())


def test_json_lines_for_scripts(say: Said, colours: Path, tmp_path: Path) -> None:
    half = Image.new("RGB", (48, 32), (0, 255, 0))
    half.paste((0, 0, 255), (24, 0, 48, 32))
    half.save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    code, said, _ = say("run", colours, tmp_path, "--json")
    assert code == 0
    frame, skipped, summary = map(json.loads, said.splitlines())
    assert (frame["event"], frame["frame"], frame["number"], frame["time_s"]) == ("frame", "a.png", 0, None)
    assert frame["latency_ms"] > 0
    assert frame["heads"]["where"] == {"shares": {"red": 0.0, "green": 0.5, "blue": 0.5}}
    assert frame["heads"]["bright"] == {"min": 85.0, "median": 85.0, "max": 85.0, "finite_share": 1.0}
    assert frame["heads"]["colour"]["class"] == "green"
    assert frame["heads"]["colour"]["margin"] == 0.0
    assert frame["heads"]["grid"]["shape"] == [2, 3, 3]
    assert skipped == {"event": "skipped", "frame": "b.png", "reason": "empty file"}
    assert (summary["event"], summary["frames"], summary["skipped"], summary["ended"]) == ("summary", 1, 1, "source")
    assert summary["dropped"] is None
    assert summary["evidence"] in ("measured on host", "measured on target")
    assert summary["heads"]["colour"] == {"top_class_frames": {"green": 1}}
    assert frame["drift"] is summary["drift"] is None


def test_an_artefact_without_heads_says_what_one_could_do(say: Said, workplace: Path) -> None:
    code, said, aside = say("run", workplace / "made.edgec", workplace / "frames", "--limit", 1)
    assert code == 0
    assert "no heads" in " ".join(aside.split())
    assert "done" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 4, "There is no source"),
        (["camera:99"], 4, "There is no camera"),
        (["camera:x"], 2, "names no camera"),
        (["FRAMES", "--input-size", "96"], 2, "takes no frames of 96x96"),
        (["FRAMES", "--show", "cls", "--output", "x"], 2, "nothing to draw"),
        (["FRAMES", "--show", "patches"], 2, "but not where"),
        (["FRAMES", "--fps", "0"], 2, "makes no sense"),
        (["FRAMES", "--every", "0"], 2, "every"),
        (["FRAMES", "--features", "none/x.npz"], 1, "there is no folder"),
    ],
)
def test_errors_and_their_exit_codes(
    say: Said, workplace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(workplace / "frames") if argument == "FRAMES" else argument for argument in arguments]
    result, _, aside = say("run", workplace / "made.edgec", *given)
    assert result == code
    assert said in " ".join(aside.split())
    assert "Traceback" not in aside
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_without_force(say: Said, workplace: Path, tmp_path: Path) -> None:
    asked = ("run", workplace / "made.edgec", workplace / "frames", "--limit", 1, "--features", tmp_path / "out.npz")
    assert say(*asked)[0] == 0
    before = (tmp_path / "out.npz").read_bytes()
    code, _, aside = say(*asked)
    assert (code, (tmp_path / "out.npz").read_bytes()) == (1, before)
    assert "--force" in aside
    assert say(*asked, "--force")[0] == 0


def test_the_function_of_all_commands_stays_where_it_is(say: Said, workplace: Path) -> None:
    """The module of this command must not take its place."""
    import edgec.cli

    assert say("run", workplace / "made.edgec", workplace / "frames", "--limit", 1)[0] == 0
    assert callable(edgec.cli.run)


def test_it_needs_neither_torch_nor_onnx(workplace: Path, walk: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'safetensors', 'transformers', 'openvino'): sys.modules[name] = None\n"
        "from edgec.cli import run\n"
        "code = run(['run', sys.argv[1], sys.argv[2], '--limit', '9', '--features', 'f.npz', '--output', 'o.mp4', '--json'])\n"
        "assert code == 0, code"
    )
    done = python(code, workplace / "made.edgec", walk, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frames"] == 9
    assert len(frames_of(tmp_path / "o.mp4")) == 9


def test_without_the_decoder_the_line_that_adds_it_is_shown(workplace: Path, walk: Path, tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'av' else real(name, *more)\n"
        "sys.modules['av'] = None\n"
        "from edgec.cli import run\n"
        "frames = sys.argv[3]\n"
        "print(run(['run', sys.argv[1], sys.argv[2]]), run(['run', sys.argv[1], frames, '--output', 'o.mp4']),"
        " run(['run', sys.argv[1], frames, '--limit', '1', '--output', 'o']))"
    )
    done = python(code, workplace / "made.edgec", walk, workplace / "frames", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "5 5 0"
    assert done.stderr.count("pip install 'edgec[video]'") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


# --- ends that come early


def frames_of(path: Path) -> list[object]:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@contextmanager
def started(*arguments: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """In the background, and heard of by its first lines: it would take a minute."""
    done = subprocess.Popen(
        command("run", *arguments, "--fps", "10", "--json"),
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has the interrupt ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield done
    finally:
        done.kill()
        done.communicate(timeout=SECONDS)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_told_to_end_writes_whole_what_it_did(
    colours: Path, walk: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started(colours, walk, "--features", "f.npz", "--output", "o.mp4", "--show", "where", cwd=tmp_path) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert json.loads(process.stdout.readline())["event"] == "frame"
        process.send_signal(number)
        said, aside = process.communicate(timeout=SECONDS)
    assert process.returncode == code, aside
    assert "Traceback" not in aside
    *frames, summary = map(json.loads, said.splitlines())
    assert (summary["event"], summary["ended"], summary["signal"]) == ("summary", "stopped", number)
    assert summary["frames"] == 3 + len(frames) < 600
    assert len(frames_of(tmp_path / "o.mp4")) == summary["frames"]
    assert len(np.load(tmp_path / "f.npz")["frame"]) == summary["frames"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "o.mp4"]


def test_a_reader_that_goes_away_ends_a_run_that_writes_nothing(colours: Path, walk: Path, tmp_path: Path) -> None:
    with started(colours, walk, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=SECONDS)
        aside = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in aside
    assert "Broken" not in aside


def test_a_reader_that_goes_away_does_not_end_one_that_writes(colours: Path, walk: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{' '.join(command('run', colours, walk, '--json', '--features', 'f.npz', '--limit', '50'))} | head -1",
        shell=True,
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert len(np.load(tmp_path / "f.npz")["frame"]) == 50


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_standard_output_on_a_full_disk(colours: Path, walk: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            command("run", colours, walk, "--limit", "3"),
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 1
    assert "Standard output cannot be written: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_says_what_a_source_is(tmp_path: Path) -> None:
    done = edgec("run", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "camera:0" in done.stdout
    assert "SOURCE" in done.stdout
