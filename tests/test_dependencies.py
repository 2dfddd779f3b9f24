"""A stage is made again when what computes it changes, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import edgec
from edgec import dependencies
from edgec.building import build
from edgec.model.spec import Size
from edgec.request import BuildRequest
from edgec.stages.base import Build
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures

ROOM = Path(edgec.__file__).parent
ASSESSED = {"assessment"}
JUDGED = {"fidelity", "fidelity-elsewhere", *ASSESSED}
LOWERED = {"lowered", *JUDGED}
PLANNED = {"plan", *LOWERED}
CALIBRATED = {"statistics", *PLANNED}
EXPORTED = {"hub", "hub-fidelity", "drift", *CALIBRATED}
REFERENCE = {"reference", "elsewhere", "hub-fidelity", "drift", *JUDGED}
EVERYTHING = {"split", *EXPORTED, *REFERENCE}
AFTER = {
    "split": EVERYTHING,
    "hub": EXPORTED,
    "reference": REFERENCE,
    "hub-fidelity": {"hub-fidelity"},
    "drift": {"drift"},
    "statistics": CALIBRATED,
    "plan": PLANNED,
    "lowered": LOWERED,
    "elsewhere": {"elsewhere", "fidelity-elsewhere", *ASSESSED},
    "fidelity": JUDGED,
    "fidelity-elsewhere": {"fidelity-elsewhere", *ASSESSED},
    "assessment": ASSESSED,
}
"""By stage, itself and those that take what it made."""
WHOLE = ("edgec.building", "edgec.stages.assembling")


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildRequest]:
    """Of a tiny int8 build, which has been made once."""
    folder = tmp_path_factory.mktemp("dependencies")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "int8.toml", {"int8": ["onnxruntime"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEC_CACHE_DIR", str(folder / "cache"))
        yield BuildRequest(
            str(folder / "checkpoint"),
            target=str(folder / "int8.toml"),
            calibration=str(folder / "frames"),
            size=Size(32, 48),
            min_fidelity=0.5,
            iterations=5,
            output=folder / "made.edgec",
        )


def ran(request: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], dict[str, tuple[str, ...]]]:
    """Builds; which stages' functions ran, and by which modules every stage is computed."""
    names: set[str] = set()
    by_stage: dict[str, tuple[str, ...]] = {}
    real = Build.stage

    def recording(self, name, key, produce, *, modules, **others):  # type: ignore[no-untyped-def]
        by_stage[name] = tuple(modules)
        place = self.cache.root
        before = {path.name for path in place.glob(f"*/{name}/*")}
        made = real(self, name, key, produce, modules=modules, **others)
        names.update({name} if made.parent.name not in before else ())
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Build, "stage", recording)
        build(replace(request, force=True))
    return names, by_stage


@pytest.fixture(scope="module")
def by_stage(request_: BuildRequest) -> dict[str, tuple[str, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        names, by_stage = ran(request_, patch)
    assert names == set(by_stage) == EVERYTHING
    return by_stage


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What is remembered of versions for a process's life."""
    yield
    dependencies.version.cache_clear()


def change(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """As if the file had other content."""
    changed, read = ROOM / place, dependencies._read
    assert changed.is_file()
    monkeypatch.setattr(dependencies, "_read", lambda path: read(path) + b"#" * (path == changed))


def change_version(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    installed = dependencies._version
    assert installed(package)
    monkeypatch.setattr(dependencies, "_version", lambda name: "99" if name.lower() == package else installed(name))
    dependencies.version.cache_clear()


def changed(by_stage: dict[str, tuple[str, ...]], before: dict[str, str]) -> set[str]:
    """The stages that another fingerprint, or that of one before them, makes run again."""
    own = {name for name, by in by_stage.items() if dependencies.fingerprint(by) != before[name]}
    return {after for name in own for after in AFTER[name]}


@pytest.fixture
def before(by_stage: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: dependencies.fingerprint(by) for name, by in by_stage.items()}


CODE = [
    ("report/pareto.py", set()),
    ("report/html/specs.py", set()),
    ("cli/console.py", set()),
    ("artefact/golden.py", set()),
    ("lowering/tensorrt/rules.toml", set()),
    ("lowering/coreml/writing.py", set()),
    ("latency/worker.py", ASSESSED),
    ("fidelity/gate.py", {"hub-fidelity", *JUDGED}),
    ("onboard/tasks.py", REFERENCE),
    ("onboard/arithmetic.py", REFERENCE),
    ("lowering/onnxruntime.py", LOWERED),
    ("precision/rounding.py", PLANNED),
    ("graph/statistics.py", CALIBRATED),
    ("heads/onnx_heads/preparing.py", EXPORTED | REFERENCE),
    ("checkpoint/weights/vit.py", EXPORTED | REFERENCE),
    ("model/vit.py", EXPORTED | REFERENCE),
    ("frames/fitting.py", EVERYTHING),
    ("errors.py", EVERYTHING),
]


@pytest.mark.parametrize(("place", "again"), CODE, ids=[place for place, _ in CODE])
def test_code_and_data(
    by_stage: dict[str, tuple[str, ...]], before: dict[str, str], monkeypatch: pytest.MonkeyPatch, place: str, again: set[str]
) -> None:
    whole = dependencies.everything(WHOLE)
    change(monkeypatch, place)
    assert changed(by_stage, before) == again
    assert dependencies.everything(WHOLE) != whole, "the artefact as a whole depends on all of edgec"


PACKAGES = [
    ("matplotlib", set()),
    ("onnx-ir", EXPORTED | REFERENCE),
    ("av", EVERYTHING),
    ("pillow", EVERYTHING),
    ("torch", EXPORTED | REFERENCE),
]


@pytest.mark.parametrize(("package", "again"), PACKAGES, ids=[package for package, _ in PACKAGES])
def test_versions_of_packages(
    by_stage: dict[str, tuple[str, ...]], before: dict[str, str], monkeypatch: pytest.MonkeyPatch, package: str, again: set[str]
) -> None:
    whole = dependencies.everything(WHOLE)
    change_version(monkeypatch, package)
    assert changed(by_stage, before) == again
    assert dependencies.everything(WHOLE) != whole


@pytest.mark.parametrize(("place", "again"), [("report/pareto.py", set()), ("precision/rounding.py", PLANNED)])
def test_a_build_runs_exactly_the_stages_whose_dependencies_changed(
    request_: BuildRequest,
    by_stage: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    again: set[str],
) -> None:
    change(monkeypatch, place)
    names, _ = ran(request_, monkeypatch)
    assert names == again


def test_a_third_party_lowering_is_in_the_keys_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("")
    module = package / "lowering.py"
    module.write_text("FAST = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = dependencies.fingerprint(["their_runtime.lowering"])
    assert before == dependencies.fingerprint(["their_runtime.lowering"])
    module.write_text("FAST = False\n")
    assert before != dependencies.fingerprint(["their_runtime.lowering"])
