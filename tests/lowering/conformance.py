"""What every lowering must do. A lowering's own test subclasses this, names it, and adds what only it can be asked:
    class TestMine(LoweringConformance):
        name = "mine"

Frames are photographs; int8 is calibrated on eight of them and judged on four others.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.errors import RuntimeFailure, TargetError
from edgec.graph.files import serialised
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.quantise import Quantise
from edgec.graph.session import features_of, open_session
from edgec.host.cores import usable_cores
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel, Lowering
from edgec.precision.static import uniform
from tests.lowering.cases import FLOORS, KINDS, Case, Features, judge, plan_of
from tests.support.commands import python
from tests.support.frames import pictures
from tests.support.models import SMALL, SPECS, VIT, exported
from tests.support.onnx_graphs import constant

_made: dict[tuple[str, str, str], Case] = {}


class LoweringConformance:
    name: ClassVar[str]

    modules: ClassVar[tuple[str, ...]]
    """The runtime's own import names."""

    @pytest.fixture
    def lowering(self) -> Lowering:
        lowering = registry.get(self.name)
        state = lowering.availability()
        if not state.available:
            pytest.skip(f"{lowering.title} is not installed: {state.install}")
        return lowering

    @pytest.fixture
    def case(self, lowering: Lowering, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
        """Lowers each model in each precision once a session."""

        def make(kind: str, precision: str) -> Case:
            key = (self.name, kind, precision)
            if key not in _made:
                made = exported(SPECS[kind])
                plan = plan_of(lowering, precision, made)
                _made[key] = Case(made, precision, plan, lowering.lower(made.graph, plan, tmp_path_factory.mktemp("-".join(key))))
            return _made[key]

        return make

    @pytest.fixture
    def cases(self, lowering: Lowering, case: Callable[..., Case]) -> list[Case]:
        return [case(kind, precision) for kind in KINDS for precision in lowering.precisions]

    # --- what it says of itself

    def test_describes_itself(self, lowering: Lowering) -> None:
        assert lowering.name == self.name == self.name.lower()
        assert lowering.title
        assert "fp32" in lowering.precisions
        assert set(lowering.precisions) <= set(FLOORS)
        assert set(lowering.int8_kinds) <= {"linear", "convolution", "depthwise", "embedding", "attention"}
        assert bool(lowering.int8_kinds) == ("int8" in lowering.precisions)
        assert lowering.availability().version

    def test_a_missing_runtime_is_reported_with_the_line_that_installs_it(
        self, lowering: Lowering, case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = case("vit", "fp32").model
        for module in self.modules:
            monkeypatch.setitem(sys.modules, module, None)
        state = lowering.availability()
        assert not state.available
        assert state.problem
        assert "pip install" in state.install
        with pytest.raises(TargetError) as caught:
            lowering.load(model)
        assert caught.value.remedy == state.install

    # --- what it writes

    def test_writes_the_files_that_it_lists(self, cases: list[Case]) -> None:
        for case in cases:
            model, folder = case.model, case.model.directory
            written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            assert sorted(model.files) == written
            assert model.entry in model.files
            assert model.runtime == self.name
            assert model.size_bytes == sum((folder / name).stat().st_size for name in written)

    def test_settings_survive_json(self, lowering: Lowering, cases: list[Case]) -> None:
        for case in cases:
            settings = json.loads(json.dumps(case.model.settings))
            assert settings == case.model.settings
        lowering.load(LoweredModel(self.name, case.model.directory, case.model.entry, case.model.files, settings))

    def test_the_same_plan_gives_the_same_bytes(self, lowering: Lowering, cases: list[Case], tmp_path: Path) -> None:
        """Also after other models were lowered and loaded in this process."""
        for number, case in enumerate(cases):
            folder = tmp_path / str(number)
            folder.mkdir()
            again = lowering.lower(case.made.graph, case.plan, folder)
            assert again.files == case.model.files
            for name in again.files:
                assert (folder / name).read_bytes() == (case.model.directory / name).read_bytes(), (case.precision, name)

    def test_lowering_leaves_nothing_else_behind(
        self, lowering: Lowering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "temporary").mkdir()
        (tmp_path / "files").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        made = exported(VIT)
        hub = made.graph
        for precision in lowering.precisions:
            (tmp_path / "files" / precision).mkdir()
            lowering.lower(hub, plan_of(lowering, precision, made), tmp_path / "files" / precision)
        assert not list((tmp_path / "temporary").iterdir())
        assert serialised(hub) == made.content

    def test_files_name_no_path_of_this_machine(self, cases: list[Case]) -> None:
        for case in cases:
            for name in case.model.files:
                content = (case.model.directory / name).read_bytes()
                for trace in (tempfile.gettempdir() + "/", str(Path.home()) + "/", str(Path.cwd()) + "/"):
                    assert trace.encode() not in content, (name, trace)

    def test_int8_files_are_smaller(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        if "int8" in lowering.precisions:
            small, large = case("vit", "int8"), case("vit", "fp32").model
            weights = sum(constant(small.made.hub, f"{name}.weight").size for name in small.plan.operations)
            assert large.size_bytes - small.model.size_bytes > 1.5 * weights

    # --- what it computes

    @pytest.mark.parametrize("kind", KINDS)
    def test_fp32_is_pytorch_to_four_digits(self, case: Callable[..., Case], kind: str) -> None:
        made = case(kind, "fp32").made
        features = case(kind, "fp32").runner(made.frames)
        assert set(features) == set(made.expected)
        for name, expected in made.expected.items():
            assert features[name].shape == expected.shape
            assert np.abs(features[name] - expected).max() <= 1e-4 * np.abs(expected).max()

    def test_every_precision_keeps_the_features(self, cases: list[Case]) -> None:
        for case in cases:
            actual = judge(case.made, case.runner)
            mean, percentile = FLOORS[case.precision]
            assert actual.cls_cosine_mean >= mean, (case.precision, actual)
            assert actual.patch_cosine_mean >= mean, (case.precision, actual)
            assert actual.patch_cosine_p01 >= percentile, (case.precision, actual)

    @pytest.mark.parametrize("activations", ["u8", "s8"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_int8_computes_what_the_plan_says(self, lowering: Lowering, tmp_path: Path, kind: str, activations: str) -> None:
        """Against the plan's own arithmetic: the Q/DQ graph, run node by node as it stands."""
        if "int8" not in lowering.precisions:
            pytest.skip("no int8")
        made = exported(SPECS[kind])
        plan = plan_of(lowering, "int8", made, activations=activations)
        session = open_session(rewritten(made.graph, Quantise(plan)), optimise=False)
        runs = [features_of(session, frame[None]) for frame in pictures(made.size, 12)[8:]]
        expected = {name: np.concatenate([features[name] for features in runs]) for name in ("cls", "patches")}
        actual = judge(made, lowering.load(lowering.lower(made.graph, plan, tmp_path)), expected)
        assert min(actual.cls_cosine_mean, actual.patch_cosine_mean) > 0.999
        assert actual.patch_cosine_p01 > 0.995

    def test_batches_and_all_outputs(self, lowering: Lowering, tmp_path: Path) -> None:
        """Two frames, registers and layers, the last of which is the same tensor as `patches`."""
        made = exported(VIT, batch=2, registers=True, layers=(0, 1))
        runner = lowering.load(lowering.lower(made.graph, uniform("fp32"), tmp_path))
        features = runner(made.frames)
        assert set(features) == {"cls", "patches", "registers", "patches_0", "patches_1"}
        for name, expected in made.expected.items():
            assert features[name].shape == expected.shape
            assert np.abs(features[name] - expected).max() <= 1e-4 * np.abs(expected).max(), name

    # --- how it runs

    def test_runs_from_wherever_it_was_copied_to(self, lowering: Lowering, cases: list[Case], tmp_path: Path) -> None:
        for number, case in enumerate(cases):
            place = tmp_path / f"Füße & co {number}"
            shutil.copytree(case.model.directory, place)
            moved = LoweredModel(self.name, place, case.model.entry, case.model.files, case.model.settings)
            features = lowering.load(moved)(case.made.frames)
            for name, value in case.runner(case.made.frames).items():
                np.testing.assert_array_equal(features[name], value)

    def test_results_are_not_overwritten_by_the_next_call(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        runner = case("vit", "fp32").runner
        one, two = (pictures(SMALL, 2)[index : index + 1] for index in range(2))
        first = runner(one)
        kept = {name: value.copy() for name, value in first.items()}
        second = runner(two)
        again = runner(one)
        for name, value in first.items():
            assert value.dtype == np.float32
            assert value.flags.writeable
            assert not np.shares_memory(value, second[name])
            np.testing.assert_array_equal(value, kept[name])
            np.testing.assert_array_equal(value, again[name])
            assert np.abs(value - second[name]).max() > 0.1

    def test_frames_are_not_changed(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        """Read-only frames, cut-outs and frames whose channels were swapped back are frames like any other."""
        runner = case("vit", "fp32").runner
        frames = pictures(SMALL, 1)
        expected = runner(frames)
        read_only = frames.copy()
        read_only.setflags(write=False)
        cut_out = np.pad(frames, ((0, 0), (5, 3), (2, 9), (0, 0)), constant_values=77)[:, 5:-3, 2:-9]
        swapped_back = np.ascontiguousarray(frames[..., ::-1])[..., ::-1]
        planes = np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
        for given in (read_only, cut_out, swapped_back, planes):
            before = given.copy()
            for name, value in runner(given).items():
                np.testing.assert_array_equal(value, expected[name])
            np.testing.assert_array_equal(given, before)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda frames: frames.astype(np.float32),
            lambda frames: frames.astype(np.float32) / 255,
            lambda frames: frames.astype(np.int64),
            lambda frames: frames.astype(np.int8),
            lambda frames: frames > 127,
            lambda frames: frames.transpose(0, 3, 1, 2),
            lambda frames: frames.transpose(0, 2, 1, 3),
            lambda frames: frames[0],
            lambda frames: frames[:, :32],
            lambda frames: frames[..., :1],
            lambda frames: np.concatenate([frames, frames]),
            lambda frames: frames[:0],
            lambda frames: None,
        ],
        ids="float32 unit int64 int8 bool planes turned flat cut grey two none nothing".split(),  # noqa: SIM905
    )
    def test_other_frames_are_refused(
        self,
        lowering: Lowering,
        case: Callable[..., Case],
        spoil: Callable[[NDArray[np.uint8]], Any],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        runner = case("vit", "fp32").runner
        capfd.readouterr()
        with pytest.raises(RuntimeFailure) as caught:
            runner(spoil(pictures(SMALL, 1)))
        assert "uint8 [1, 64, 96, 3]" in str(caught.value)
        assert capfd.readouterr() == ("", "")
        assert set(runner(pictures(SMALL, 1))) == {"cls", "patches"}

    @pytest.mark.parametrize("damage", ["empty", "half", "text", "missing"])
    def test_damaged_files_are_refused(
        self, lowering: Lowering, case: Callable[..., Case], damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        model = case("vit", "fp32").model
        for number, name in enumerate(model.files):
            place = tmp_path / str(number)
            shutil.copytree(model.directory, place)
            content = (place / name).read_bytes()
            spoilt = {"empty": b"", "half": content[: len(content) // 2], "text": b"This is not a model.\n" * 20}
            if damage == "missing":
                (place / name).unlink()
            else:
                (place / name).write_bytes(spoilt[damage])
            with pytest.raises(RuntimeFailure, match="refuses the model") as caught:
                lowering.load(LoweredModel(self.name, place, model.entry, model.files, model.settings))
            assert caught.value.exit_code == 10
            assert model.entry in caught.value.evidence
        assert capfd.readouterr().out == ""

    def test_runs_in_a_process_without_torch_and_onnx(
        self, case: Callable[..., Case], lowering: Lowering, tmp_path: Path
    ) -> None:
        """As `verify` and the robot do. Neither can be imported there at all."""
        precision = lowering.precisions[-1]
        chosen = case("vit", precision)
        features, _ = self._elsewhere(chosen, tmp_path, threads=1)
        for name, value in lowering.load(chosen.model, threads=1)(chosen.made.frames).items():
            np.testing.assert_allclose(features[name], value, atol=1e-6)

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir() or usable_cores() < 2, reason="needs Linux and two cores")
    def test_threads_are_obeyed(self, case: Callable[..., Case], lowering: Lowering, tmp_path: Path) -> None:
        """The threads that loading and running add to the process. Some runtimes start theirs only when there is enough to do."""
        chosen = case("vit", "fp32")
        added = [self._elsewhere(chosen, tmp_path, threads)[1] for threads in (1, 2)]
        # No more than that: what a runtime starts beside its workers is its own business, and differs from run to run.
        assert added[0] <= added[1]
        for threads in (1, 2):
            assert lowering.load(chosen.model, threads=threads).threads == threads
        assert lowering.load(chosen.model).threads == usable_cores()

    def _elsewhere(self, case: Case, folder: Path, threads: int) -> tuple[Features, int]:
        """The features, and how many threads the process got."""
        np.save(folder / "frames.npy", case.made.frames)
        model = case.model
        told = {"directory": str(model.directory), "entry": model.entry, "files": model.files, "settings": model.settings}
        done = python(_ELSEWHERE, self.name, json.dumps(told), str(threads), cwd=folder)
        assert done.returncode == 0, done.stderr
        with np.load(folder / "features.npz") as actual:
            return {name: actual[name] for name in actual.files}, int(done.stdout)

    def test_says_what_it_executes(self, cases: list[Case]) -> None:
        for case in cases:
            assert case.runner.execution_precision


_ELSEWHERE = """
import json, os, sys
for name in ("torch", "onnx", "transformers", "click", "rich"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
from edgec.host import facts as host
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel

def tasks():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0

name, told, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
lowering = registry.get(name)
assert lowering.availability().available
model = LoweredModel(name, Path(told["directory"]), told["entry"], tuple(told["files"]), told["settings"])
frames = np.load("frames.npy")
before = tasks()
runner = lowering.load(model, threads=threads)
for _ in range(5):
    features = runner(frames)
print(tasks() - before)
np.savez("features.npz", **features)
"""
