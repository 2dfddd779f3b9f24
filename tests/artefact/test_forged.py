"""Artefacts of every kind in which somebody changed a little and made every hash and seal good again; single flipped bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.flips import run as flip_bits
from edgec.artefact.reading import open_artefact
from edgec.backends.apple.program import MAC_PROGRAM
from edgec.backends.jetson.program import PROGRAM
from edgec.boards.artefact import open_for_boards
from edgec.building import build
from edgec.errors import ArtefactError, VerificationError
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.support import forging
from tests.support import heads as made
from tests.support.files import SMALL as SHALLOW
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

BUNDLE = "device/bundle.json"
KINDS = ("openvino", "onnxruntime", "jetson", "apple")
FLIPS = 60


@dataclass(frozen=True)
class Built:
    """`weights` are the files of its graphs that have weights. `classifier` [classes, 2 D] is float32's."""

    kind: str
    directory: Path
    weights: tuple[str, ...]
    classifier: np.ndarray[Any, np.dtype[np.float32]]

    def copy(self, tmp: Path) -> Path:
        return Path(shutil.copytree(self.directory, tmp / "forged.edgec"))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("forged")
    save_checkpoint(folder / "checkpoint", replace(SHALLOW, depth=3))
    draw_pictures(folder / "frames")
    heads = (made.linear(folder, SHALLOW.width), made.segmentation(folder, SHALLOW.width))
    return BuildRequest(
        str(folder / "checkpoint"),
        calibration=str(folder / "frames"),
        size=SMALL,
        iterations=5,
        min_fidelity=0.5,
        heads=tuple(f"{head.name}={head.path}" for head in heads),
    )


Make = Callable[[str], Built]


@pytest.fixture(scope="module")
def make(asked: BuildRequest) -> Make:
    folder, done = Path(asked.calibration).parent, dict[str, Built]()

    def one(kind: str) -> Built:
        if kind not in done:
            done[kind] = _build(asked, folder, kind)
        return done[kind]

    return one


def _build(asked: BuildRequest, folder: Path, kind: str) -> Built:
    output = folder / f"{kind}.edgec"
    if kind == "apple":
        pytest.importorskip("coremltools")
    if kind in ("openvino", "onnxruntime"):
        profile = save_profile(folder / f"{kind}.toml", {"fp32": [kind], "int8": [kind]})
        build(replace(asked, target=str(profile), precision="int8", output=output))
    else:
        build(replace(asked, target="jetson-orin-nano" if kind == "jetson" else kind, output=output))
    weights = sorted(
        path.relative_to(output).as_posix()
        for path in (output / "model").rglob("*")
        if path.suffix in (".onnx", ".bin") and path.is_file()
    )
    assert weights
    return Built(kind, output, tuple(weights), load_file(folder / "kind.safetensors")["weight"])


@pytest.fixture(scope="module", params=KINDS)
def built(request: pytest.FixtureRequest, make: Make) -> Built:
    return make(request.param)


@pytest.fixture(scope="module")
def for_boards(make: Make) -> Built:
    return make("jetson")


def test_it_is_verified_where_it_was_built(built: Built) -> None:
    result = verify(built.directory)
    assert result.same_machine
    assert result.notes == ()
    assert all(output.difference == 0 for output in result.outputs)
    variants = {output.variant for output in result.outputs} - {""}
    assert len(variants) == (len(built.weights) - 1 if built.kind == "jetson" else 0)


Weights = np.ndarray[Any, np.dtype[Any]]
Change = Callable[[Weights], object]


def forge_classifier(forged: Path, path: str, built: Built, change: Change) -> None:
    """In place, wherever the graph has it: in float32 or float16, [classes, 2 D] or turned."""
    content = bytearray((forged / path).read_bytes())
    for kind in (np.float32, np.float16):
        for turned in (False, True):
            stored = np.ascontiguousarray(built.classifier.T if turned else built.classifier).astype(kind)
            start = content.find(stored.tobytes())
            if start >= 0:
                change(stored.T if turned else stored)
                assert content[start : start + stored.nbytes] != stored.tobytes()
                content[start : start + stored.nbytes] = stored.tobytes()
                (forged / path).write_bytes(content)
                return
    raise AssertionError(f"{path} has no classifier")


def small_sign(weights: Weights) -> None:
    """Of a weight smaller than 15 of 16. The very smallest is below what fp16 scores can show: they stay the same to the bit."""
    weights[0, np.abs(weights[0]).argsort()[len(weights[0]) // 16]] *= -1


def one_sign(weights: Weights) -> None:
    weights[0, np.abs(weights[0]).argsort()[len(weights[0]) // 2]] *= -1


def swapped_classes(weights: Weights) -> None:
    weights[[0, 1]] = weights[[1, 0]]


def scaled_class(weights: Weights) -> None:
    weights[1] *= 1.01


def zeroed_class(weights: Weights) -> None:
    weights[2] = 0


CHANGES = [one_sign, swapped_classes, scaled_class, zeroed_class]


@pytest.mark.parametrize("change", [small_sign, *CHANGES], ids=lambda change: change.__name__)
def test_a_changed_classifier_is_noticed_in_every_graph(built: Built, tmp_path: Path, change: Change) -> None:
    """The smallest changes in each graph; of the larger ones one graph says enough."""
    for path in built.weights if change in (small_sign, one_sign) else built.weights[:1]:
        forged = built.copy(tmp_path)
        forge_classifier(forged, path, built, change)
        forging.repair(forged)
        with pytest.raises(VerificationError, match="does not compute what was recorded"):
            verify(forged)
        shutil.rmtree(forged)


@pytest.mark.parametrize("change", [one_sign, scaled_class], ids=lambda change: change.__name__)
def test_it_is_noticed_if_the_manifest_names_another_machine(built: Built, tmp_path: Path, change: Change) -> None:
    """More is allowed then; but heads move no further than the features that they are made of."""
    for path in built.weights:
        forged = built.copy(tmp_path)
        forge_classifier(forged, path, built, change)
        forging.edit(forged / "manifest.json", lambda manifest: manifest["execution"].update(machine="0" * 64))
        forging.repair(forged)
        with pytest.raises(VerificationError, match="does not compute what was recorded"):
            verify(forged)
        shutil.rmtree(forged)


def xored(weights: Weights) -> None:
    weights[:] = np.frombuffer(bytes(byte ^ 0x15 for byte in weights.tobytes()), weights.dtype).reshape(weights.shape)


def test_weights_xored_are_noticed_whatever_the_manifest_allows(built: Built, tmp_path: Path) -> None:
    for path in built.weights:
        forged = built.copy(tmp_path)
        forge_classifier(forged, path, built, xored)
        forging.repair(forged)
        with pytest.raises(VerificationError):
            verify(forged)
        shutil.rmtree(forged)
    loosened = {"relative_tolerance": 1e300, "min_cosine": 1e-300}
    forged = built.copy(tmp_path)
    forge_classifier(forged, built.weights[-1], built, xored)
    forging.edit(forged / "manifest.json", lambda manifest: manifest["golden"].update(loosened))
    forging.repair(forged)
    with pytest.raises(ArtefactError, match="contradicts itself"):
        verify(forged)


def test_no_flipped_bit_goes_unnoticed(built: Built) -> None:
    flips = flip_bits(built.directory, FLIPS, seed=KINDS.index(built.kind))
    assert (flips.tried, flips.unnoticed, flips.broken) == (FLIPS, [], [])


def test_another_device_program_is_noticed_and_never_sent(built: Built, tmp_path: Path) -> None:
    forged = built.copy(tmp_path)
    programs = [path for path in (PROGRAM, MAC_PROGRAM) if (forged / path).is_file()]
    assert len(programs) == (built.kind in ("jetson", "apple"))
    for path in programs:
        own = (forged / path).read_bytes()
        (forged / path).write_bytes(own + b"#")
        forging.repair(forged)
        with pytest.raises(ArtefactError, match="is not the one of edgec"):
            verify(forged)
        forging.edit(forged / "manifest.json", lambda manifest: manifest.update(edgec_version="0.0.7"))
        forging.edit(forged / BUNDLE, lambda bundle: bundle.update(edgec_version="0.0.7"))
        forging.repair(forged)
        (note,) = verify(forged).notes
        assert f"{path} is from edgec 0.0.7: it cannot be compared with what that version wrote" in note
        sent = open_for_boards(forged)
        assert sent.program == own == sent.files[path]
        (facts,) = (file for file in json.loads(sent.document)["files"] if file["path"] == path)
        assert facts["size_bytes"] == len(own)


def test_bounds_of_a_mac_are_edgec_s_own(make: Make, tmp_path: Path) -> None:
    """A Mac compares heads with what was recorded of the very package: neither looser bounds nor another comparison."""
    for change in (
        lambda bundle: bundle["variants"][1]["bounds"]["kind"].update(cosine=0.9),
        lambda bundle: bundle["variants"][0]["bounds"]["kind"].update(difference=0.5),
        lambda bundle: bundle["golden"].pop("recorded"),
        lambda bundle: bundle.update(sizes=[5]),
    ):
        forged = make("apple").copy(tmp_path)
        forging.edit(forged / BUNDLE, change)
        forging.list_again(forged)
        for refuse in (verify, open_for_boards):
            with pytest.raises(ArtefactError, match="contradicts the artefact"):
                refuse(forged)
        shutil.rmtree(forged)


def test_the_artefact_s_own_document_is_sent_to_a_board(for_boards: Built) -> None:
    sent = open_for_boards(for_boards.directory)
    assert sent.document == (for_boards.directory / BUNDLE).read_bytes()


def test_a_board_gets_the_budget_of_an_artefact_of_an_older_edgec(for_boards: Built, tmp_path: Path) -> None:
    older = for_boards.copy(tmp_path)
    forging.edit(older / BUNDLE, lambda bundle: (bundle.pop("budget"), bundle.update(edgec_version="0.0.7")))
    forging.edit(older / "manifest.json", lambda manifest: manifest.update(edgec_version="0.0.7"))
    forging.repair(older)
    sent, own = (json.loads(each) for each in (open_for_boards(older).document, (for_boards.directory / BUNDLE).read_bytes()))
    assert sent["budget"] == own["budget"]


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        (lambda bundle: bundle["gate"].update(cls_cosine_mean=0.01), "its gate for cls_cosine_mean is 0.01"),
        (lambda bundle: bundle["gate"].pop("patch_cosine_p01"), "its gate bounds"),
        (
            lambda bundle: bundle["budget"].update(min_fidelity=0.01),
            "its budget is not the one that the artefact was built to keep",
        ),
        (lambda bundle: bundle["budget"].update(min_iou=0.01), "its budget is not the one that the artefact was built to keep"),
        (lambda bundle: bundle.pop("budget"), "its budget is not the one that the artefact was built to keep"),
        (lambda bundle: bundle["files"][0].update(sha256="0" * 64), "has another hash or size than in the manifest"),
        (lambda bundle: bundle["files"].pop(), "it does not list"),
        (lambda bundle: bundle["variants"].pop(), "its variants are not those of the manifest"),
        (lambda bundle: bundle["variants"][0].update(precision="fp64"), "its variants are not those"),
        (lambda bundle: bundle["outputs"].pop(), "outputs is not the manifest's"),
        (lambda bundle: bundle["heads"].pop(), "heads is not the manifest's"),
        (lambda bundle: bundle["golden"].update(count=1), "it has other golden frames"),
        (lambda bundle: bundle["variants"][0]["bounds"].pop("kind"), "are not for the artefact's heads"),
        (lambda bundle: bundle.update(variants=5), "it does not say what it must"),
        (lambda bundle: bundle.update(gate=None), "it does not say what it must"),
    ],
)
def test_a_bundle_that_contradicts_the_manifest_is_neither_verified_nor_deployed(
    for_boards: Built, tmp_path: Path, change: Callable[[dict[str, Any]], object], evidence: str
) -> None:
    forged = for_boards.copy(tmp_path)
    forging.edit(forged / BUNDLE, change)
    files = {file.path: file for file in open_artefact(for_boards.directory).manifest.files}
    content = (forged / BUNDLE).read_bytes()
    assert content != (for_boards.directory / BUNDLE).read_bytes()
    forging.list_again(forged)
    assert files.keys() == {file.path for file in open_artefact(forged).manifest.files}
    for refuse in (verify, open_for_boards):
        with pytest.raises(ArtefactError, match="contradicts the artefact") as caught:
            refuse(forged)
        assert any(evidence in line for line in caught.value.evidence), caught.value.evidence


@pytest.mark.parametrize(("what", "value"), [("difference", 1e6), ("cosine", -1.0), ("agreement", 0.0)])
def test_bounds_that_allow_boards_to_lose_more_are_noticed(for_boards: Built, tmp_path: Path, what: str, value: float) -> None:
    for number in range(len(for_boards.weights)) if what == "difference" else (0,):
        forged = for_boards.copy(tmp_path)

        def change(bundle: dict[str, Any], number: int = number) -> None:
            for bound in bundle["variants"][number]["bounds"].values():
                if what in bound:
                    bound[what] = value

        forging.edit(forged / BUNDLE, change)
        forging.list_again(forged)
        with pytest.raises(VerificationError, match="allows boards to lose more than its graphs do") as caught:
            verify(forged)
        assert what in caught.value.evidence[0]
        shutil.rmtree(forged)


def test_a_record_of_operations_may_not_be_left_out(make: Make, tmp_path: Path) -> None:
    forged = make("apple").copy(tmp_path)
    (forged / "golden" / "operations.json").unlink()
    forging.repair(forged)
    with pytest.raises(ArtefactError, match="does not say what its operations computed"):
        verify(forged)


def test_it_is_the_same_with_any_number_of_threads(built: Built) -> None:
    """Or, where kernels divide their sums by threads, as near as kernels are."""
    for threads in (1, 3):
        result = verify(built.directory, threads=threads)
        assert all(output.passed for output in result.outputs)
