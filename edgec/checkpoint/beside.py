"""What lies beside a checkpoint's weights and may speak of them: configurations, adapters, other weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgec.checkpoint.choosing import BASE
from edgec.checkpoint.text import listed, shown
from edgec.errors import AmbiguousCheckpoint, RequestError, UnknownForm
from edgec.paths import expand

NO_CONFIG = "none"
"""Given as --config: nothing that is stated beside or around the weights is believed."""
CONFIG = "config.json"
_STATED = (
    *(CONFIG, "preprocessor_config.json", "processor_config.json", "open_clip_config.json"),
    *("config.yaml", "config.yml", "hparams.yaml", "args.yaml", "args.json"),
)
_METAS_EVALUATION = "teacher_checkpoint.pth"
"""Meta's training code puts it two folders below its config.yaml."""
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_NO_MODEL = ("optimizer", "scheduler", "training_args", "rng_state", "random_states", "scaler", "adapter_model", "trainer_state")
"""Beginnings of files with the suffix of weights that trainers leave beside them."""


def stated_files(folder: Path, weights: Sequence[Path]) -> tuple[Path, ...]:
    """The files whose words count for these weights, in the order in which they are told."""
    files = [folder / name for name in _STATED]
    if any(path.name == _METAS_EVALUATION for path in weights):
        files.append(folder.absolute().parent.parent / "config.yaml")
    return tuple(path for path in files if path.is_file())


def config_path(config: str) -> Path:
    """The file named with --config. Raises `RequestError` if there is none."""
    try:
        path = expand(config)
        there = path.is_file()
    except (OSError, ValueError) as error:
        raise RequestError(f"The file given as --config cannot be opened: {shown(config)}.", evidence=shown(error)) from error
    if not there:
        raise RequestError(
            f"There is no file {shown(config)} to read as --config.",
            remedy=f"give a JSON file, or `{NO_CONFIG}` to believe the weights alone",
        )
    return path


def check_adapter(folder: Path, weights: str | None) -> None:
    """Raises `UnknownForm` if an adapter lies beside the weights, which transformers would apply, unless `weights` is "base"."""
    adapters = [name for name in _ADAPTERS if (folder / name).is_file()]
    if adapters and weights != BASE:
        raise UnknownForm(
            "An adapter lies beside these weights, which is part of the model: transformers applies it, edgec does not.",
            evidence=f"{listed(adapters)} in {shown(folder)}",
            remedy="merge it (peft: model.merge_and_unload().save_pretrained(…)) and give that; --weights base leaves it out",
        )


def check_rivals(
    folder: Path, taken: Sequence[Path], candidates: Sequence[Path], same_content: Sequence[str]
) -> tuple[Path, ...]:
    """Files of the folder that hold the same weights in another container, by transformers' names; they are to be compared.

    Raises `AmbiguousCheckpoint` if the folder has weights besides under any other name.
    """
    others = [path for path in candidates if path not in taken and not path.name.startswith(_NO_MODEL)]
    copies = tuple(path for path in others if path.name in same_content)
    strangers = [path for path in others if path not in copies and not _is_shard(path)]
    if strangers:
        raise AmbiguousCheckpoint(
            f"{shown(folder)} holds several sets of weights, and nothing says which one is meant.",
            evidence=[shown(path.name) for path in (*taken[:4], *strangers[:8])],
            remedy="name the file itself",
        )
    return copies


def _is_shard(path: Path) -> bool:
    return "-of-" in path.name
