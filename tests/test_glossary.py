from __future__ import annotations

from pathlib import Path

from edgec.glossary import TERMS, find, to_markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "glossary.md"


def test_the_page_is_the_glossary() -> None:
    """To write it again: python -c "from edgec.glossary import to_markdown; print(to_markdown(), end='')" > docs/glossary.md"""
    assert PAGE.read_text(encoding="utf-8") == to_markdown()


def test_names_are_unique_and_found() -> None:
    names = [name.lower() for term in TERMS for name in (term.name, *term.others)]
    assert len(names) == len(set(names))
    assert len({term.anchor for term in TERMS}) == len(TERMS)
    assert all(find(name) is not None for name in names)
    assert find("nothing of the kind") is None
