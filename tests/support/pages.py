"""A real browser to open pages in: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Seen:
    """What the browser had to say: console messages and errors, and requests that left the page."""

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Opened:
    page: Page
    seen: Seen

    def drawn(self, selector: str = ".chart") -> None:
        """Scroll to each visible chart and wait for its picture."""
        for chart in self.page.locator(f"{selector}:visible").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg").wait_for(timeout=20_000)


@contextmanager
def browser() -> Iterator[Any]:
    """Skips where Chromium is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'edgec[test]'")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(started: Any, file: Path, **context: Any) -> Iterator[Opened]:
    """The page in a context of its own, e.g. with `viewport={"width": 390, "height": 800}` or `color_scheme="dark"`."""
    made = started.new_context(**context)
    page, seen = made.new_page(), Seen()

    def dialog(each: Any) -> None:
        seen.dialogs.append(each.message)
        each.dismiss()

    page.on("console", lambda message: seen.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("dialog", dialog)
    try:
        page.goto(file.absolute().as_uri())
        yield Opened(page, seen)
    finally:
        made.close()
