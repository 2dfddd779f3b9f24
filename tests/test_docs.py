"""The pages: they build, and what they show is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.files import save_checkpoint
from tests.support.forks import Forks

ROOT = Path(__file__).resolve().parents[1]
_ALERT = "import warnings; warnings.simplefilter('error'); "
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_on_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text) if "://" not in target]
    assert all((page.parent / target).exists() for target in targets), targets
    snippets = re.findall(r'^--8<-- "(.+)"$', text, re.MULTILINE)
    assert all((ROOT / snippet).is_file() for snippet in snippets)
    if page.name in ("python.md", "contributing.md"):
        assert snippets


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r": ([\w-]+\.md)$", contents, re.MULTILINE)) == {
        page.name for page in PAGES if page.parent.name == "docs"
    }


def test_the_example_of_the_api_runs(builders: Forks, tmp_path: Path) -> None:
    """As the page shows it, on a small checkpoint."""
    save_checkpoint(tmp_path / "checkpoint")
    call = f"example.main({str(tmp_path / 'checkpoint')!r}, Path({str(tmp_path)!r}), (32, 48))"
    code = f"{_ALERT}from pathlib import Path; from examples.python import build_and_compare as example; {call}"
    done = builders.edgec(cwd=tmp_path, code=code)
    assert done.returncode == 0, done.stderr
    assert "verified on" in done.stdout
    assert "p50" in done.stdout
