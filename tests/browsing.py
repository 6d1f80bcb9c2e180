"""A real browser for tests, Debian's chromium by playwright, and what its pages say and ask for.

Screenshots go to the folder DYNLAB_SHOTS names, where it is set.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (1400, 390)
PATIENCE = 240_000  # milliseconds, for machines that do other things too


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class Tab:
    """A page, with what its console says and what it asks for."""

    def __init__(self, browser: Any, width: int, **more: Any) -> None:
        self.width = width
        self.context = browser.new_context(viewport={"width": width, "height": 1000}, accept_downloads=True, **more)
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda told: self.said.append((told.type, told.text)))
        self.page.on("pageerror", lambda error: self.said.append(("error", str(error))))
        self.page.on("requestfailed", lambda request: self.said.append(("error", f"{request.url} failed")))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda opened: self.asked.append(opened.url))

    def fits(self) -> bool:
        """Whether nothing is wider than the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth") <= self.width

    def shot(self, name: str, wait: int = 0) -> None:
        """Take a picture where pictures are wanted; wait: milliseconds before it."""
        if "DYNLAB_SHOTS" in os.environ:
            self.page.wait_for_timeout(wait)
            self.page.screenshot(path=str(Path(os.environ["DYNLAB_SHOTS"]) / name), full_page=True)

    def clean(self, *places: str) -> None:
        """Nothing went wrong, and nothing was asked for elsewhere than at `places`."""
        assert [line for line in self.said if line[0] in ("error", "warning")] == []
        assert self.asked and all(one.startswith((*places, "data:", "blob:")) for one in self.asked), self.asked

    def end(self, *places: str) -> None:
        """The same, and close it."""
        self.clean(*places)
        self.context.close()
