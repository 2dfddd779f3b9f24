"""What `edgec inspect` shows of a head's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.heads.reading import read_head
from edgec.heads.types import ONNX, Head
from edgec.text import counted, shown

_TENSORS, _CLASSES = 8, 12
_OUTPUTS = {
    "scores": "scores, one a class, of the whole frame",
    "labels": "labels, a class for every pixel of the frame",
    "logits": "logits, a score a class for every pixel of the frame",
    "depth": "depth, for every pixel of the frame",
    "values": "values, a vector a patch or whatever the graph gives",
}


@dataclass(frozen=True)
class HeadInspection:
    """What a head's file says. `tensors` are names and shapes; none for ONNX, whose `outputs` are listed instead."""

    path: str
    kind: str
    title: str
    output: str
    outputs: tuple[str, ...]
    reads: tuple[str, ...]
    width: int | None
    patch: int | None
    classes: tuple[str, ...]
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    parameters: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """All fields, ready for `json.dumps`, under `head`."""
        return {"head": {**vars(self), "tensors": dict(self.tensors)}}

    def rows(self) -> list[tuple[str, str]]:
        """Label and text, a line each, for people."""
        classes = ", ".join(map(shown, self.classes[:_CLASSES]))
        more = f" and {len(self.classes) - _CLASSES} more" if len(self.classes) > _CLASSES else ""
        tensors = ", ".join(f"{shown(name)} {list(shape)}" for name, shape in self.tensors[:_TENSORS])
        others = f" and {len(self.tensors) - _TENSORS} more" if len(self.tensors) > _TENSORS else ""
        fits = [f"features {self.width} wide"] * bool(self.width) + [f"a patch of {self.patch} pixels"] * bool(self.patch)
        return [
            ("head", shown(self.path)),
            ("kind", self.kind + (f": {shown(self.title)}" if self.title else "")),
            ("gives", _OUTPUTS[self.output] + (f" ({', '.join(map(shown, self.outputs))})" if len(self.outputs) > 1 else "")),
            ("reads", ", ".join(map(shown, self.reads))),
            ("made for", ", ".join(fits) or "it does not say: edgec build checks its weights' shapes"),
            ("classes", f"{len(self.classes)}: {classes}{more}" if self.classes else "no names"),
            *([("weights", f"{counted(self.parameters, 'parameter')}: {tensors}{others}")] if self.tensors else []),
            ("sha-256", self.sha256),
            ("to build", f"edgec build CHECKPOINT --head NAME={shown(self.path)}"),
        ]


def inspect_head(path: Path) -> HeadInspection:
    """The facts about a head's file. Raises what `read_head` raises."""
    head = read_head("head", path)
    return HeadInspection(
        path=str(path),
        kind=head.kind,
        title=head.description.name or head.description.description,
        output=head.output,
        outputs=head.graph_outputs,
        reads=head.inputs,
        width=_width(head),
        patch=head.description.patch,
        classes=head.classes,
        tensors=tuple((name, value.shape) for name, value in sorted(head.weights.items())),
        parameters=sum(value.size for value in head.weights.values()),
        sha256=head.sha256,
    )


def _width(head: Head) -> int | None:
    """As the file states it, or as its weights have it where all features that it reads are equally wide."""
    if head.description.width or head.kind == ONNX:
        return head.description.width
    from edgec.heads.kinds import kind_of

    widths = set(kind_of(head).widths(head))
    return widths.pop() if len(widths) == 1 else None
