"""One headless Chromium that is driven by playwright."""

from contextlib import contextmanager

import pytest
from browser import find
from waiting import PATIENCE

sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
SINGLE = ("--no-first-run", "--disable-component-update", "--disable-sync")


@contextmanager
def browsing():
    """One Chromium, of the system, for as many pages as are asked for."""
    program = find()
    with sync_playwright() as playwright:
        options = dict(executable_path=program, args=[*QUIET, *SINGLE], timeout=1000 * PATIENCE)
        browser = playwright.chromium.launch(**options)
        try:
            yield browser
        finally:
            browser.close()
