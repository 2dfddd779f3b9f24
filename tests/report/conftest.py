from __future__ import annotations

import pytest

from edgec.records.evidence import Evidence
from edgec.records.fidelity import Classes, Depths, HeadFacts, Masks, StageFidelity, TaskFidelity, Vectors
from edgec.records.report import CandidateFigures, ColdStart, Host, Latency, ModelFacts, Report


def candidate(name: str, p50: float, *, chosen: bool = False) -> CandidateFigures:
    runtime, precision = name.split(" ")
    samples = (p50 - 1, p50, p50 + 3)
    return CandidateFigures(
        name=name,
        runtime=runtime,
        precision=precision,
        execution_precision="f32",
        size_bytes=86_400_000,
        fidelity=StageFidelity(
            stage=name,
            cls_cosine_mean=0.99991,
            patch_cosine_mean=0.99876,
            patch_cosine_p01=0.98765,
            frames=40,
            evidence=Evidence.HOST,
        ),
        latency=Latency(
            min_ms=samples[0],
            p50_ms=p50,
            p90_ms=samples[2],
            p99_ms=samples[2],
            max_ms=samples[2],
            mean_ms=sum(samples) / 3,
            iterations=3,
            warmup=2,
            threads=2,
            samples_ms=samples,
            evidence=Evidence.HOST,
        ),
        cold_start=ColdStart(load_ms=321.4, first_inference_ms=99.9, peak_rss_bytes=512_000_000, evidence=Evidence.HOST),
        chosen=chosen,
    )


@pytest.fixture
def report() -> Report:
    return Report(
        edgec_version="0.1.0",
        created="2026-11-24T10:00:00Z",
        model=ModelFacts(
            name="vits16-standin",
            arch="vits16",
            checkpoint_sha256="ab" * 32,
            random_weights=False,
            gflops=9.4,
            parameters=21_600_000,
        ),
        target="x86-64-avx512-vnni",
        host_is_target=True,
        input_shape=(1, 224, 224, 3),
        precision_asked="auto",
        min_fidelity=0.99,
        calibration="street",
        validation_frames=40,
        stages=(
            StageFidelity(
                stage="hub graph",
                cls_cosine_mean=1,
                patch_cosine_mean=0.999999,
                patch_cosine_p01=0.999998,
                frames=40,
                evidence=Evidence.HOST,
            ),
        ),
        candidates=(
            candidate("openvino fp32", 62.0),
            candidate("openvino int8", 25.25, chosen=True),
            candidate("onnxruntime int8", 42.0),
            CandidateFigures(name="openvino bf16", runtime="openvino", precision="bf16", problem="this CPU has\nno bf16"),
        ),
        chosen="openvino int8",
        reason="fastest at p50 of those inside the budget",
        notes=("the governor is powersave",),
        host=Host(
            cpu="Some CPU",
            architecture="x86_64",
            isa=("avx2", "avx512_vnni"),
            physical_cores=1,
            logical_cores=2,
            usable_cores=2,
            memory_bytes=8_000_000_000,
            governor="powersave",
            virtual_machine=True,
            os="Linux 6",
            python="3.11",
            versions={"edgec": "0.1.0", "openvino": "2025.4", "numpy": "2.3"},
        ),
    )


def tasks(
    agreement: float = 1.0, iou: tuple[float | None, ...] = (0.99, 0.97, None), error: float = 0.01
) -> tuple[TaskFidelity, ...]:
    """Of the four heads of `headed`."""
    known = [value for value in iou if value is not None]
    classes = Classes(agreement=agreement, margin_float32=3.5, margin_shipped=3.25, smallest_margin=0.125)
    masks = Masks(pixel_agreement=0.995, mean_iou=round(sum(known) / len(known), 6), iou=iou)
    return (
        TaskFidelity(head="kind", output="scores", classes=classes),
        TaskFidelity(head="floor", output="labels", masks=masks),
        TaskFidelity(head="far", output="depth", depths=Depths(relative_error=error, rmse=0.25)),
        TaskFidelity(head="grasp", output="values", values=Vectors(cosine_mean=0.9995, cosine_min=0.98)),
    )


def with_tasks(report: Report, result: tuple[TaskFidelity, ...], *, features: bool = True) -> Report:
    """Every judged candidate's and stage's."""
    cosines = {} if features else dict.fromkeys(("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"))
    return report.model_copy(
        update={
            "stages": tuple(stage.model_copy(update={"tasks": result, **cosines}) for stage in report.stages),
            "candidates": tuple(
                each.model_copy(update={"fidelity": each.fidelity.model_copy(update={"tasks": result, **cosines})})
                if each.fidelity
                else each
                for each in report.candidates
            ),
        }
    )


@pytest.fixture
def headed(report: Report) -> Report:
    """With a head of each kind, and budgets for all."""
    heads = tuple(
        HeadFacts(name=name, kind=kind, output=output, outputs=(name,), classes=classes, reads=("patches",), sha256=digit * 64)
        for name, kind, output, classes, digit in (
            ("kind", "linear", "scores", ("cat", "dog"), "1"),
            ("floor", "segmentation", "labels", ("floor", "wall", "thing"), "2"),
            ("far", "depth", "depth", (), "3"),
            ("grasp", "mlp", "values", (), "4"),
        )
    )
    budgets = {"min_agreement": 0.98, "min_iou": 0.97, "max_depth_error": 0.02}
    return with_tasks(report, tasks()).model_copy(update={"heads": heads, **budgets})


@pytest.fixture
def bare(headed: Report) -> Report:
    """The same model without features."""
    return with_tasks(headed, tasks(), features=False)
