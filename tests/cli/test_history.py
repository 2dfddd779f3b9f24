"""`edgec history` over reports of several builds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.reports import edit, retimed

Said = Callable[..., tuple[int, str, str]]


def test_one_models_builds_in_order(say: Said, artefact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for place, (name, ms) in enumerate((("new", 22.5), ("old", 20.0), ("other", 5.0))):
        path = Path(shutil.copy(artefact / "report.json", folder / f"{name}.json"))

        def change(document: dict[str, object], name: str = name, place: int = place) -> None:
            document.update(created=f"2026-0{9 - place}-01T00:00:00+00:00", files=[])
            if name == "other":
                document.update(target="another-board")

        edit(path, change)
        retimed(path, ms, seed=place)
    (folder / "sweep.json").write_text("{}")
    code, out, err = say("history", folder)
    assert (code, err) == (0, "")
    blocks = [block.splitlines() for block in out.split("\n\n")]
    assert ["another-board" in block[0] for block in blocks] == [True, False]
    rows = blocks[1][2:]
    assert [row.split()[0][:7] for row in rows] == ["2026-08", "2026-09"]
    assert ["old.json" in rows[0], "new.json" in rows[1]] == [True, True]
    told = json.loads(say("history", folder, "--json")[1])
    assert [round(each["p50_ms"]) for each in told[1]["reports"]] == [20, 22]
    assert told[0]["target"] == "another-board"


def test_a_folder_without_reports(say: Said, tmp_path: Path) -> None:
    code, _, err = say("history", tmp_path)
    assert code == 2
    assert "There is no report in" in err
