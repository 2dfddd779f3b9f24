"""A project for an artefact: what `edgec code` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.backends.registry import all_backends
from edgec.backends.robot_code import RobotCode
from edgec.code.contract import contract_of
from edgec.code.golden import write_arrays
from edgec.code.identifiers import namespace
from edgec.code.languages import LANGUAGES
from edgec.code.model import Model, model_of
from edgec.code.planar import with_planes
from edgec.code.rendering import render
from edgec.code.writing import check_project, write_project
from edgec.durable import copy_hashed
from edgec.errors import ArtefactError, RequestError, TargetError
from edgec.records.reading import printable

ARTEFACT = "artefact"
"""The project's folder for the model and the golden frames."""


@dataclass(frozen=True)
class CodeRequest:
    """What to write. `variant` names another graph than the artefact's entry, `name` what the program calls the model (by default
    as the artefact's folder), `output` the project's folder (by default beside the artefact)."""

    artefact: Path
    language: str
    output: Path | None = None
    variant: str | None = None
    name: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Project:
    """What was written. `namespace` is the model's name in the code."""

    directory: Path
    namespace: str
    runtime: str
    precision: str
    files: tuple[str, ...]
    """Without those of the artefact."""


def generate(request: CodeRequest) -> Project:
    """Write a project for an artefact, whole or not at all. Every file of the artefact is checked by its hash first.

    Raises `ArtefactError` for a damaged artefact, or if something is in the way; `RequestError` if there is no such variant, the
    project would lie in the artefact, or the graph has no such form; `TargetError` if the artefact's family has no code in this
    language.
    """
    artefact = open_artefact(request.artefact)
    model = model_of(artefact, request.variant)
    code = _code(artefact, model, request.language)
    stem = artefact.directory.resolve().name.removesuffix(".edgec")
    directory = request.output or artefact.directory.resolve().parent / f"{stem}-{request.language}"
    if directory.resolve().is_relative_to(artefact.directory.resolve()):
        raise RequestError(
            f"{directory} lies in the artefact, which must hold nothing else.", remedy="choose a path beside it with -o"
        )
    check_project(directory, force=request.force)
    spelt = namespace(request.name or stem)
    more = []
    if code.planar:
        model, graph = with_planes(artefact, model)
        more.append(graph)
    contract = contract_of(artefact, model, code, spelt, more)
    files = render(code, contract.context)

    def fill(work: Path) -> None:
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text, encoding="utf-8")
        place = work / ARTEFACT
        for file in model.files:
            (place / file.path).parent.mkdir(parents=True, exist_ok=True)
            if copy_hashed(artefact.directory / file.path, place / file.path) != file.sha256:
                raise ArtefactError(
                    f"{artefact.directory} changed while it was read.",
                    evidence=f"{file.path} has another content than a moment ago",
                    remedy="try again when nothing writes to it",
                )
        write_arrays(place, contract.arrays)

    write_project(directory, fill, language=request.language, build_key=artefact.manifest.build_key, force=request.force)
    return Project(directory, spelt, model.runtime, model.precision, tuple(sorted(files)))


def _code(artefact: OpenArtefact, model: Model, language: str) -> RobotCode:
    backends = all_backends().values()
    files = {file.path for file in artefact.manifest.files}
    # Two families may have one runtime: which of them it is, the program for its devices says.
    own = [backend for backend in backends if backend.program is not None and backend.program.path in files]
    offered = {name: code for backend in own or backends for name, code in backend.robot_code(model.runtime).items()}
    if language not in offered:
        raise TargetError(
            f"There is no {language} code for artefacts like this one yet.",
            evidence=f"it is for {printable(artefact.manifest.target)}, in {printable(model.runtime)}; for that there is "
            f"{', '.join(f'--{name}' for name in LANGUAGES if name in offered) or 'none'}",
            remedy="build for --target cpu, or open the artefact's files with their runtime's own API",
        )
    return offered[language]
