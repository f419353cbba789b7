"""Every example runs as it stands, and the README shows the one that runs.

Turns red: change a line of examples/quickstart.py, or `Network.trace`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(example)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_readme_shows_the_quickstart() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\n(.*?)```", readme, re.S)
    assert shown is not None
    calls = [re.sub(r"\s+#.*", "", line) for line in shown[1].splitlines() if line.strip()]
    example = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")
    code = [re.sub(r"\s+#.*", "", line) for line in example.splitlines()[1:] if line.strip()]
    assert [re.sub(r"^print\((cs\.atlas\(.*\))\)$", r"\1", line) for line in code] == calls
