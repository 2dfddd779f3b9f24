"""What was looked at, and what came of it, for continuous integration: JUnit's XML, and annotations of GitHub's workflows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as Xml

from edgec.untrusted import printable

Outcome = Literal["passed", "failed", "undecided"]
_ANNOTATIONS = {"failed": "error", "undecided": "warning"}
_LONGEST = 4000
"""Characters of one annotation."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `text` says what came of it, on one line."""

    name: str
    outcome: Outcome
    text: str


def to_junit(suite: str, checks: Sequence[Check], *, undecided_fails: bool = False) -> bytes:
    """A test case a check. What is undecided is a test that was skipped, or one that failed with `undecided_fails`."""
    failed = [each for each in checks if each.outcome == "failed" or (undecided_fails and each.outcome == "undecided")]
    skipped = [each for each in checks if each.outcome == "undecided" and not undecided_fails]
    counts = {"tests": str(len(checks)), "failures": str(len(failed)), "errors": "0", "skipped": str(len(skipped))}
    whole = Xml.Element("testsuites", counts)
    cases = Xml.SubElement(whole, "testsuite", {"name": f"edgec {suite}", **counts})
    for check in checks:
        case = Xml.SubElement(cases, "testcase", {"classname": f"edgec.{suite}", "name": printable(check.name)})
        text = printable(check.text)
        if check in failed:
            Xml.SubElement(case, "failure", {"message": text, "type": check.outcome})
        elif check in skipped:
            Xml.SubElement(case, "skipped", {"message": text})
        else:
            Xml.SubElement(case, "system-out").text = text
    Xml.indent(whole)
    # Text of half surrogate pairs has been replaced by `printable`; so have controls, which XML cannot hold.
    document: bytes = Xml.tostring(whole, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def to_annotations(suite: str, checks: Sequence[Check]) -> list[str]:
    """A line for each check that failed or is undecided, as GitHub's runner reads it."""
    return [
        f"::{_ANNOTATIONS[check.outcome]} title={_property(f'edgec {suite}: {printable(check.name)}')}::"
        f"{_data(printable(check.text)[:_LONGEST])}"
        for check in checks
        if check.outcome in _ANNOTATIONS
    ]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
