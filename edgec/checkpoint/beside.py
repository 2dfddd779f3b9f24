"""What lies beside a checkpoint's weights and may speak of them: configurations, adapters, other weights."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path

from edgec.checkpoint.choosing import BASE
from edgec.checkpoint.text import listed, shown
from edgec.errors import AmbiguousCheckpoint, RequestError, UnknownForm
from edgec.paths import expand

NO_CONFIG = "none"
"""Given as --config: nothing that is stated beside or around the weights is believed."""
CONFIG = "config.json"
STATED = (
    *(CONFIG, "preprocessor_config.json", "processor_config.json", "open_clip_config.json"),
    *("config.yaml", "config.yml", "hparams.yaml", "args.yaml", "args.json"),
)
"""Names that state something by convention: such a file must be readable."""
_OTHERS = re.compile(
    r"(\w+[-_.])*(config|cfg|hparams?|hyper_?param\w*|params|args|arguments|opts?|options|(pre)?process\w*|normali[sz]\w+|"
    r"transforms?|stats|statistics|settings|metadata|model)"
)
"""Stems under which trainers leave the same things."""
_OTHER_SUFFIXES = (".json", ".yaml", ".yml", ".toml")
_NOT_OF_THE_MODEL = ("adapter", "generation", "tokenizer", "scheduler", "accelerate", "deepspeed", "ds_", "fsdp", "trainer_state")
_MOST_OTHERS = 64
_LARGEST_OTHER = 1 << 20
_METAS_EVALUATION = "teacher_checkpoint.pth"
"""Meta's training code puts it two folders below its config.yaml."""
_OF_A_RUN = re.compile(
    r"checkpoints?|ckpts?|weights|pretrained_model|(checkpoint|step|epoch|iter|global_step)[-_=]?\d\w*", re.IGNORECASE
)
"""Folders in which a run keeps its weights. What is said of them is said one above."""
_PIPELINE = "model_index.json"
"""A pipeline of diffusers, one folder a part: the processor has a folder of its own."""
_HYDRAS = Path(".hydra") / "config.yaml"
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_NO_MODEL = ("optimizer", "scheduler", "training_args", "rng_state", "random_states", "scaler", "adapter_model", "trainer_state")
"""Beginnings of files with the suffix of weights that trainers leave beside them."""


def stated_files(folder: Path, weights: Sequence[Path]) -> tuple[Path, ...]:
    """The files whose words count for these weights, in the order in which they are told: those beside them, and those that a run
    or a pipeline keeps one folder above."""
    folder = folder.absolute()
    stems = {path.name.lower().removesuffix(".tar").rpartition(".")[0] for path in weights}
    files = _stated_in(folder, stems)
    above = folder.parent
    if any(path.name == _METAS_EVALUATION for path in weights):
        files.append(above.parent / "config.yaml")
    if (above / _PIPELINE).is_file():
        files += [above / part / "preprocessor_config.json" for part in ("feature_extractor", "image_processor")]
    place = folder
    while _OF_A_RUN.fullmatch(place.name) and place.parent != place:
        place = place.parent
        names = {path.name for path in files if path.is_file()}
        files += [path for path in _stated_in(place, set()) if path.name not in names]
    return tuple(path for path in dict.fromkeys(files) if path.is_file())


def _stated_in(folder: Path, stems: Set[str]) -> list[Path]:
    known = [folder / name for name in (*STATED, _HYDRAS)]
    try:
        others = sorted(path for path in folder.iterdir() if _may_state(path, stems))
    except OSError:
        others = []
    return [*known, *(path for path in others if path not in known)][: len(known) + _MOST_OTHERS]


def _may_state(path: Path, stems: Set[str]) -> bool:
    stem, name = path.stem.lower(), path.name.lower()
    if path.suffix.lower() not in _OTHER_SUFFIXES or name.startswith(_NOT_OF_THE_MODEL) or name.endswith(".index.json"):
        return False
    return (stem in stems or bool(_OTHERS.fullmatch(stem))) and path.is_file() and path.stat().st_size <= _LARGEST_OTHER


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
