"""Templates → the files of a project.

A template is a file whose name ends with `.j2`, in Jinja's language, with marks that C++, Python, Swift, CMake and Markdown lack:
`%% … %%` is a statement, on a line of its own, and `@{ … }` an expression. Others are copied as they are. `NAMESPACE` in a path
stands for the project's namespace; a file whose name begins with one underscore is for others to include. Modules of
`edgec.onboard` are copied into `NAMESPACE/onboard`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgec import onboard
from edgec.backends.robot_code import RobotCode
from edgec.code.identifiers import cell, comment, literal, python_literal, swift_literal, swift_name

_TEMPLATE = ".j2"
_NAMESPACE = "NAMESPACE"


def render(code: RobotCode, context: Mapping[str, Any]) -> dict[str, str]:
    """The text of each file, by its path in the project. Of two templates with one path, the first folder's counts.

    Raises `jinja2.UndefinedError` for a template that uses what `context` does not have.
    """
    folders = code.folders
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([str(folder) for folder in folders]),
        autoescape=False,  # noqa: S701 - what comes from artefacts passes through the filters below, for the languages
        undefined=StrictUndefined,
        variable_start_string="@{",
        variable_end_string="}",
        block_start_string="%%",
        block_end_string="%%",
        comment_start_string="@#",
        comment_end_string="#@",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": literal, "python": python_literal, "swift": swift_literal, "swift_name": swift_name}
    environment.filters |= {"comment": comment, "cell": cell}
    source = Path(onboard.__file__).parent
    files = {f"{context['namespace']}/onboard/{name}": (source / name).read_text(encoding="utf-8") for name in code.onboard}
    for folder in reversed(folders):
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or _is_hidden(path):
                continue
            name = path.relative_to(folder).as_posix()
            place = name.removesuffix(_TEMPLATE).replace(_NAMESPACE, context["namespace"])
            if name.endswith(_TEMPLATE):
                files[place] = environment.get_template(name).render(context)
            else:
                files[place] = path.read_text(encoding="utf-8")
    return files


def _is_hidden(path: Path) -> bool:
    inner = path.name.startswith(("_", ".")) and not path.name.startswith("__init__")
    return inner or "__pycache__" in path.parts
