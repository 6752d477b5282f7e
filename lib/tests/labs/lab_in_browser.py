"""Drive JupyterLab in headless Chromium as a student would: cells by their id, keys, menus."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import nbformat
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from labs.harness import ROOT

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CELL_TIMEOUT = 120_000  # ms: the first cell imports PyTorch
START_TIMEOUT = 60  # s
SCREEN = {"width": 1200, "height": 900}
COLOURS = 128  # in a screenshot; keeps it below 100 kB
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    # All cells stay in the page, so that they can be found by their place in the notebook.
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


@contextmanager
def jupyterlab(root: Path, home: Path, theme: str) -> Iterator[str]:
    """Serve the notebooks in `root` with settings of its own in `home`; yield the URL."""
    themes = {"apputils-extension/themes": f'{{"theme": "{THEMES[theme]}"}}'}
    for name, text in {**SETTINGS, **themes}.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "lib"),
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    options = [f"--port={port}", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    url = f"http://127.0.0.1:{port}"
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={root}"],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(f"{url}/api", server)
            yield url
        finally:
            server.terminate()  # shuts its kernels down, too
            server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        assert server.poll() is None, "JupyterLab ended; see server.log"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except URLError:
            time.sleep(0.2)
    raise TimeoutError(f"JupyterLab did not answer in {START_TIMEOUT} s")


@contextmanager
def chromium_page() -> Iterator[Page]:
    """Yield a page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=SCREEN)
        yield page
        browser.close()


class NotebookPage:
    """An open notebook whose cells go by the ids that they have in the file."""

    def __init__(self, page: Page, url: str, notebook: Path, root: Path) -> None:
        self.page = page
        cells = nbformat.read(notebook, as_version=4).cells
        self._index = {cell.id: index for index, cell in enumerate(cells)}
        page.goto(f"{url}/lab/tree/{notebook.relative_to(root)}?reset")
        expect(self._cells()).to_have_count(len(cells), timeout=CELL_TIMEOUT)
        page.keyboard.press("Control+b")  # the file browser makes room for the notebook
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait until the kernel has done all that it was asked to."""
        expect(self.page.get_by_text("| Idle")).to_be_visible(timeout=CELL_TIMEOUT)

    def _cells(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")

    def cell(self, cell_id: str) -> Locator:
        """Return a cell."""
        return self._cells().nth(self._index[cell_id])

    def output(self, cell_id: str) -> Locator:
        """Return the outputs of a cell."""
        return self.cell(cell_id).locator(".jp-Cell-outputArea")

    def run(self, cell_id: str) -> None:
        """Run a cell with Ctrl+Enter, and wait until it is done."""
        cell = self.cell(cell_id)
        cell.scroll_into_view_if_needed()
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        prompt.click()
        self.page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text(before, timeout=CELL_TIMEOUT)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=CELL_TIMEOUT)

    def run_through(self, last: str) -> None:
        """Run all code cells from the top to `last`."""
        for cell_id, index in self._index.items():
            is_code = "jp-CodeCell" in (self.cell(cell_id).get_attribute("class") or "")
            if is_code and index <= self._index[last]:
                self.run(cell_id)

    def insert_below(self, cell_id: str, new_id: str) -> None:
        """Insert an empty code cell below a cell, as the key `b` does."""
        count = self._cells().count()
        self.cell(cell_id).locator(".jp-InputPrompt").click()
        self.page.keyboard.press("b")
        expect(self._cells()).to_have_count(count + 1)
        place = self._index[cell_id] + 1
        self._index = {i: n + (n >= place) for i, n in self._index.items()} | {new_id: place}

    def write(self, cell_id: str, source: str) -> None:
        """Replace the source of a cell in its editor."""
        editor = self.cell(cell_id).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def screenshot(self, path: Path, *, at: str) -> None:
        """Save what the window shows with the cell `at` near the top, as a small PNG."""
        self.cell(at).evaluate("cell => cell.scrollIntoView({block: 'start'})")
        self.page.wait_for_timeout(500)  # ms, for scrolling and fading
        self.page.screenshot(path=path)
        with Image.open(path) as image:
            image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
