"""Which browser the journeys drive, and how it is started."""

from __future__ import annotations

import os
import shutil

CHROMIUM = (
    os.environ.get("CONVSCOPE_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
