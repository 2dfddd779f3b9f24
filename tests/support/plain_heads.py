"""Heads as their authors write them, in plain PyTorch: what edgec's modules, which are written to be exported, must compute.

Nothing here is shared with edgec: batch norms are torch's and run, maps are resampled by torch, antialiasing included, and bins
are normalised before they are summed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgec.heads.types import Array, Head

Features = Mapping[str, Tensor]


def by_its_author(head: Head, features: Features, size: tuple[int, int]) -> Tensor:
    """The head's output, from features by name; `size` is the frame's."""
    kinds: dict[str, type[_Head]] = {"linear": _Linear, "segmentation": _Segmentation, "mlp": _Mlp, "depth": _Depth}
    module = kinds[head.kind](head).requires_grad_(False).eval()
    return module([features[name] for name in head.inputs], size)  # type: ignore[no-any-return]


def _tensors(weights: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}


def _linear(shape: Sequence[int]) -> nn.Linear:
    return nn.Linear(int(shape[1]), int(shape[0]))


def _conv(shape: Sequence[int]) -> nn.Conv2d:
    """Of a size that leaves the map's as it is."""
    return nn.Conv2d(int(shape[1]), int(shape[0]), int(shape[2]), padding=int(shape[2]) // 2)


class _Head(nn.Module, ABC):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.said: Any = head.description

    @abstractmethod
    def forward(self, given: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The output, from the head's inputs in their order."""

    def over_the_frame(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """[N, C, rows, columns] to logits or labels of every pixel."""
        logits = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return logits if self.head.output == "logits" else logits.argmax(dim=1).int()


class _Linear(_Head):
    def __init__(self, head: Head) -> None:
        super().__init__(head)
        weights = _tensors(head.weights)
        self.linear = _linear(weights["weight"].shape)
        self.linear.load_state_dict(weights)

    def forward(self, given: list[Tensor], size: tuple[int, int]) -> Tensor:
        pooled = [each if each.ndim == 2 else each.flatten(1, 2).mean(dim=1) for each in given]
        return self.linear(torch.cat(pooled, dim=1))  # type: ignore[no-any-return]


def _one_map(given: list[Tensor]) -> Tensor:
    """[N, rows, columns, D] each, to [N, all D, rows, columns] at the first one's resolution."""
    planes = [each.permute(0, 3, 1, 2) for each in given]
    size = planes[0].shape[2:]
    return torch.cat([functional.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in planes], dim=1)


class _Segmentation(_Head):
    def __init__(self, head: Head) -> None:
        super().__init__(head)
        weights = _tensors(head.weights)
        classes, width = weights["weight"].shape
        self.norm: nn.Module = nn.Identity()
        if "norm.mean" in weights:
            self.norm = nn.BatchNorm2d(width, eps=head.description.norm_eps)
            names = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
            self.norm.load_state_dict({theirs: weights[f"norm.{ours}"] for theirs, ours in names.items()}, strict=False)
        self.conv = nn.Conv2d(width, classes, 1)
        self.conv.load_state_dict({"weight": weights["weight"][:, :, None, None], "bias": weights["bias"]})

    def forward(self, given: list[Tensor], size: tuple[int, int]) -> Tensor:
        return self.over_the_frame(self.conv(self.norm(_one_map(given))), size)


class _Mlp(_Head):
    def __init__(self, head: Head) -> None:
        super().__init__(head)
        weights = _tensors(head.weights)
        layers: list[nn.Module] = []
        for index in range(len(weights) // 2):
            layers += [nn.GELU() if self.said.activation == "gelu" else nn.ReLU()] if index else []
            linear = _linear(weights[f"{index}.weight"].shape)
            linear.load_state_dict({part: weights[f"{index}.{part}"] for part in ("weight", "bias")})
            layers.append(linear)
        self.layers = nn.Sequential(*layers)

    def forward(self, given: list[Tensor], size: tuple[int, int]) -> Tensor:
        values = self.layers(_one_map(given).permute(0, 2, 3, 1))
        return values if self.head.output == "values" else self.over_the_frame(values.permute(0, 3, 1, 2), size)


class _Unit(nn.Module):
    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1, bias=bias)}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2["conv"](self.conv1["conv"](x.relu()).relu())  # type: ignore[no-any-return]


class _Depth(_Head):
    """Modules are called as Meta's, so that its files load as they are."""

    def __init__(self, head: Head) -> None:
        super().__init__(head)
        weights = _tensors(head.weights)
        shape = {name: value.shape for name, value in weights.items()}
        projects = [shape[f"reassemble_blocks.projects.{index}.conv.weight"][:2] for index in range(4)]
        outs, width = [int(out) for out, _ in projects], int(shape["convs.0.conv.weight"][0])
        resize = [
            nn.ConvTranspose2d(outs[0], outs[0], 4, stride=4),
            nn.ConvTranspose2d(outs[1], outs[1], 2, stride=2),
            nn.Identity(),
            nn.Conv2d(outs[3], outs[3], 3, stride=2, padding=1),
        ]
        normed = [f"reassemble_blocks.batchnorm_layers.{index}.weight" in weights for index in range(4)]
        self.net = nn.ModuleDict(
            {
                "reassemble_blocks": nn.ModuleDict(
                    {
                        "projects": nn.ModuleList(
                            nn.ModuleDict({"conv": nn.Conv2d(int(into), int(out), 1)}) for out, into in projects
                        ),
                        "resize_layers": nn.ModuleList(resize),
                        "batchnorm_layers": nn.ModuleList(
                            nn.BatchNorm2d(int(into), eps=head.description.norm_eps) if norm else nn.Identity()
                            for norm, (_, into) in zip(normed, projects, strict=True)
                        ),
                    }
                ),
                "convs": nn.ModuleList(nn.ModuleDict({"conv": nn.Conv2d(out, width, 3, padding=1, bias=False)}) for out in outs),
                "fusion_blocks": nn.ModuleList(
                    nn.ModuleDict(
                        {
                            f"res_conv_unit{unit}": _Unit(
                                width, bias=f"fusion_blocks.{index}.res_conv_unit{unit}.conv1.conv.bias" in weights
                            )
                            for unit in ((1, 2) if index else (2,))
                        }
                        | {"project": nn.ModuleDict({"conv": nn.Conv2d(width, width, 1)})}
                    )
                    for index in range(4)
                ),
                "conv_depth": nn.ModuleDict(
                    {
                        "head": nn.Sequential(
                            _conv(shape["conv_depth.head.0.weight"]),
                            nn.UpsamplingBilinear2d(scale_factor=2),
                            _conv(shape["conv_depth.head.2.weight"]),
                            nn.ReLU(),
                            _conv(shape["conv_depth.head.4.weight"]),
                        )
                    }
                ),
            }
        )
        if "project.conv.weight" in weights:
            self.net["project"] = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1)})
        state = self.net.state_dict()
        counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
        self.net.load_state_dict({**weights, **counters}, strict=True)

    def forward(self, given: list[Tensor], size: tuple[int, int]) -> Tensor:
        net: Any = self.net
        planes = [each.permute(0, 3, 1, 2) for each in given]
        if len({plane.shape[2:] for plane in planes}) > 1:
            # As Meta's ConvNeXt does when it stands in for a ViT/16.
            grid = (size[0] // 16, size[1] // 16)
            planes = [functional.interpolate(plane, size=grid, mode="bilinear", antialias=True) for plane in planes]
        blocks = net["reassemble_blocks"]
        maps = []
        for index, plane in enumerate(planes):
            x = blocks["projects"][index]["conv"](blocks["batchnorm_layers"][index](plane))
            maps.append(net["convs"][index]["conv"](blocks["resize_layers"][index](x)))
        x = maps[3]
        for index, block in enumerate(net["fusion_blocks"]):
            if index:
                skip = functional.interpolate(maps[3 - index], size=x.shape[2:], mode="bilinear", align_corners=False)
                x = x + block["res_conv_unit1"](skip)
            x = functional.interpolate(block["res_conv_unit2"](x), scale_factor=2, mode="bilinear", align_corners=True)
            x = block["project"]["conv"](x)
        if "project" in net:
            x = net["project"]["conv"](x).relu()
        depth = self._depths(net["conv_depth"]["head"](x))
        return functional.interpolate(depth, size=size, mode="bilinear", align_corners=False)[:, 0]

    def _depths(self, x: Tensor) -> Tensor:
        described, bins = self.said, x.shape[1]
        low, high = torch.tensor(described.min_depth), torch.tensor(described.max_depth)
        if bins == 1:
            return x.relu() + low
        if described.bins == "linear":
            centres = torch.linspace(float(low), float(high), bins)
        else:
            centres = torch.linspace(float(low.log()), float(high.log()), bins).exp()
        if described.weighting == "softmax":
            weights = x.softmax(dim=1)
        else:
            raw = x.sigmoid() if described.weighting == "sigmoid" else x.relu() + 0.1
            weights = raw / raw.sum(dim=1, keepdim=True)
        return (weights * centres[None, :, None, None]).sum(dim=1, keepdim=True)
