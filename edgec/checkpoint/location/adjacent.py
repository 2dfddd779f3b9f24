"""What is next to a checkpoint's weights and concerns them: configurations, adapters, other weights."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path

from edgec.checkpoint.layouts.choosing import BASE
from edgec.errors import AmbiguousCheckpoint, RequestError, UnknownForm
from edgec.paths import expand
from edgec.text import listed, shown

NO_CONFIG = "none"
"""The value of --config with which no configuration is read."""
CONFIG = "config.json"
KNOWN_CONFIGS = (
    *(CONFIG, "preprocessor_config.json", "processor_config.json", "open_clip_config.json"),
    *("config.yaml", "config.yml", "hparams.yaml", "args.yaml", "args.json"),
)
"""Names that are configurations by convention: such a file must be readable."""
_OTHERS = re.compile(
    r"(\w+[-_.])*(config|cfg|hparams?|hyper_?param\w*|params|args|arguments|opts?|options|(pre)?process\w*|normali[sz]\w+|"
    r"transforms?|stats|statistics|settings|metadata|model)"
)
"""Other stems that trainers give to configurations."""
_OTHER_SUFFIXES = (".json", ".yaml", ".yml", ".toml")
_NOT_OF_THE_MODEL = ("adapter", "generation", "tokenizer", "scheduler", "accelerate", "deepspeed", "ds_", "fsdp", "trainer_state")
_MOST_OTHERS = 64
_LARGEST_OTHER = 1 << 20
_METAS_EVALUATION = "teacher_checkpoint.pth"
"""Meta's training code writes it two folders below its config.yaml."""
_WEIGHTS_FOLDER = re.compile(
    r"checkpoints?|ckpts?|weights|pretrained_model|(checkpoint|step|epoch|iter|global_step)[-_=]?\d\w*", re.IGNORECASE
)
"""Folders in which a training run keeps its weights: the configuration is one folder above."""
_PIPELINE = "model_index.json"
"""The index of a pipeline of diffusers, in which each part has a folder, the processor too."""
_HYDRAS = Path(".hydra") / "config.yaml"
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_NO_MODEL = ("optimizer", "scheduler", "training_args", "rng_state", "random_states", "scaler", "adapter_model", "trainer_state")
"""Beginnings of files with a suffix of weights that trainers write next to the model's."""


def config_files(folder: Path, weights: Sequence[Path]) -> tuple[Path, ...]:
    """The configurations of these weights, the most specific first: those in their folder, and those that a training run or a
    pipeline keeps one folder above."""
    folder = folder.absolute()
    stems = {path.name.lower().removesuffix(".tar").rpartition(".")[0] for path in weights}
    files = _configs_in(folder, stems)
    above = folder.parent
    if any(path.name == _METAS_EVALUATION for path in weights):
        files.append(above.parent / "config.yaml")
    if (above / _PIPELINE).is_file():
        files += [above / part / "preprocessor_config.json" for part in ("feature_extractor", "image_processor")]
    while _WEIGHTS_FOLDER.fullmatch(folder.name) and folder.parent != folder:
        folder = folder.parent
        names = {path.name for path in files if path.is_file()}
        files += [path for path in _configs_in(folder, set()) if path.name not in names]
    return tuple(path for path in dict.fromkeys(files) if path.is_file())


def _configs_in(folder: Path, stems: Set[str]) -> list[Path]:
    known = [folder / name for name in (*KNOWN_CONFIGS, _HYDRAS)]
    try:
        others = sorted(path for path in folder.iterdir() if _may_be_config(path, stems))
    except OSError:
        others = []
    return [*known, *(path for path in others if path not in known)][: len(known) + _MOST_OTHERS]


def _may_be_config(path: Path, stems: Set[str]) -> bool:
    stem, name = path.stem.lower(), path.name.lower()
    if path.suffix.lower() not in _OTHER_SUFFIXES or name.startswith(_NOT_OF_THE_MODEL) or name.endswith(".index.json"):
        return False
    return (stem in stems or bool(_OTHERS.fullmatch(stem))) and path.is_file() and path.stat().st_size <= _LARGEST_OTHER


def config_path(config: str) -> Path:
    """The file given with --config. Raises `RequestError` if there is none."""
    try:
        path = expand(config)
        exists = path.is_file()
    except (OSError, ValueError) as error:
        raise RequestError(f"The file given as --config cannot be opened: {shown(config)}.", evidence=shown(error)) from error
    if not exists:
        raise RequestError(
            f"There is no file {shown(config)} to read as --config.",
            remedy=f"give a JSON file, or `{NO_CONFIG}` to read no configuration",
        )
    return path


def check_adapter(folder: Path, weights: str | None) -> None:
    """Raises `UnknownForm` if the folder holds an adapter, which transformers would apply, unless `weights` is "base"."""
    adapters = [name for name in _ADAPTERS if (folder / name).is_file()]
    if adapters and weights != BASE:
        raise UnknownForm(
            "There is an adapter next to these weights, which is part of the model: transformers applies it, edgec does not.",
            evidence=f"{listed(adapters)} in {shown(folder)}",
            remedy="merge it (peft: model.merge_and_unload().save_pretrained(…)) and give that; --weights base leaves it out",
        )


def check_rivals(
    folder: Path, taken: Sequence[Path], candidates: Sequence[Path], same_content: Sequence[str]
) -> tuple[Path, ...]:
    """Files of the folder that by their names (`same_content`) hold the same weights in another container; `read` compares them.

    Raises `AmbiguousCheckpoint` if the folder has weights under any other name.
    """
    others = [path for path in candidates if path not in taken and not path.name.startswith(_NO_MODEL)]
    copies = tuple(path for path in others if path.name in same_content)
    rivals = [path for path in others if path not in copies and "-of-" not in path.name]
    if rivals:
        raise AmbiguousCheckpoint(
            f"{shown(folder)} holds several sets of weights, and nothing says which one is meant.",
            evidence=[shown(path.name) for path in (*taken[:4], *rivals[:8])],
            remedy="name the file itself",
        )
    return copies
