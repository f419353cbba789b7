"""The example of docs/doctor_words.md runs and prints what stands below it. Change a word of either: red."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs/doctor_words.md").read_text(encoding="utf-8")


def test_the_example_prints_what_is_written() -> None:
    code, printed = (re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL) for kind in ("python", "text"))
    assert code is not None
    assert printed is not None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code[1], {})
    assert out.getvalue() == printed[1]
