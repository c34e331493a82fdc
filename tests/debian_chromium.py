"""Where the browser of the browser tests is."""

import os
import shutil

import pytest


def chromium() -> str:
    """Debian's or Google's browser. Without one the tests skip, or fail if TINYLLM_BROWSER says it is required."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("TINYLLM_BROWSER") == "required":
        pytest.fail("no Chromium here, and TINYLLM_BROWSER says that one is required")
    pytest.skip("no Chromium here")
