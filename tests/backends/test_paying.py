"""A lower precision whose compiled graphs move more than fp16's is left out, with the reason."""

from __future__ import annotations

import pytest

from edgec.backends.candidate import Candidate
from edgec.backends.jetson.paying import unprofitable
from edgec.records.compilation import Compilation


def compiled(precision: str, form: str = "", kernels: int = 100, **moved: tuple[float, float]) -> Candidate:
    """A candidate with these bytes between kernels and of weights, in MB, by SM; None for one that was refused."""
    compilations = tuple(
        Compilation(
            compiler="TensorRT-RTX 1.7.1",
            sm=sm.removeprefix("sm"),
            kernels=kernels,
            moved_bytes=int(between * 1e6),
            constant_bytes=int(weights * 1e6),
            compile_s=1.0,
        )
        for sm, (between, weights) in moved.items()
    )
    name = "-".join(filter(None, (precision, form)))
    return Candidate(name, "tensorrt", precision, form=form, compilations=compilations)


FP16 = compiled("fp16", sm86=(61.1, 45.4), sm120=(61.1, 45.4))


@pytest.mark.parametrize(
    ("candidates", "left_out"),
    [
        # A ViT-S/16 and a ConvNeXt-T at 224 pixels, a ViT-S/16 at 480x640.
        ([FP16, compiled("int8", sm86=(99.7, 24.4)), compiled("int8", "folded", sm86=(66.4, 24.4))], set()),
        (
            [
                compiled("fp16", sm86=(80.1, 55.8)),
                compiled("int8", sm86=(140.0, 28.6)),
                compiled("int8", "folded", sm86=(98.3, 28.6)),
            ],
            {"int8", "int8-folded"},
        ),
        ([compiled("fp16", sm86=(370.0, 46.0)), compiled("int8", "folded", sm86=(398.2, 25.0))], set()),
        # A ViT-T/16, in int8, and in fp8 with more kernels of glue than fp16 has in all.
        ([compiled("fp16", sm120=(31.0, 13.1)), compiled("int8", "folded", kernels=112, sm120=(34.5, 8.4))], set()),
        ([compiled("fp16", sm120=(31.0, 13.1)), compiled("fp8", kernels=220, sm120=(30.0, 8.4))], {"fp8"}),
        # One GPU is enough, and one that refuses the graph says nothing.
        ([FP16, compiled("int8", sm86=(99.7, 45.0), sm120=(66.0, 45.0))], set()),
        ([FP16, compiled("fp8", sm120=(99.7, 45.0)), compiled("int8", sm86=(66.4, 24.4))], {"fp8"}),
        # Nothing to compare with.
        ([compiled("int8", sm86=(99.7, 24.4))], set()),
        ([FP16, compiled("int8")], set()),
    ],
)
def test_what_does_not_pay_is_left_out_in_all_its_forms(candidates: list[Candidate], left_out: set[str]) -> None:
    assert set(unprofitable(candidates)) == left_out


def test_the_reason_has_the_counts_that_decided() -> None:
    beside = compiled("fp16", sm86=(80.1, 55.8))
    reasons = unprofitable([beside, compiled("int8", sm86=(140.0, 28.6)), compiled("int8", "folded", sm86=(98.3, 28.6))])
    for reason in reasons.values():
        for part in ("int8-folded", "98.3 MB", "80.1 MB", "126.9 with weights", "135.9", "compiled on host", "--precision int8"):
            assert part in reason
