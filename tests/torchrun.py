"""A script run by two processes at once, as `torchrun --nproc-per-node 2` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_by_two(text: str, folder: Path, *arguments: str) -> None:
    """Write `text` into a file of `folder` and run it by two processes, with the folder as first argument."""
    script = folder / "two.py"
    script.write_text(text)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script),
               str(folder), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
