"""The laws of the house that a machine can check: imports, budgets, names, docstrings, no torch where it does not belong.

A law that has exceptions lists them here as data, each with its reason. Mutation: add `import torch` to `results.py`, or
a module `utils.py` to any folder, and this file turns red.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src/convscope"
FILES = tuple(sorted(SRC.rglob("*.py")))

# Where each file or folder lives. A file may import what stands on a lower level, or beside it on its own.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "geometry", "addresses"),
    (
        "animation",
        "descent",
        "draw",
        "fields",
        "glass",
        "glass_files",
        "glass_training",
        "operators",
        "recipe",
        "registry",
        "results",
        "store",
    ),
    (
        "archives",
        "chance",
        "checkpoints",
        "collection",
        "constants",
        "data",
        "export",
        "fast",
        "fit",
        "glance",
        "images",
        "inputs",
        "layers",
        "likeness",
        "network",
        "optimizers",
        "opening",
        "processes",
        "receptive",
        "record",
        "run",
        "scoring",
        "sweep",
        "tally",
        "learned",
        "planted",
        "segmenting",
        "concepts",
        "dense",
        "diagnosing",
        "editing",
        "incremental",
        "keys",
        "mechanics",
        "mismatch",
        "outputs",
        "debugger",
        "similarity",
        "stages",
        "symptoms",
        "synthesis",
        "watch",
        "watching",
    ),
    (
        "attributions",
        "features",
        "responses",
        "comparisons",
        "equivalences",
        "evaluations",
        "checks",
        "edits",
        "experiments",
        "zoo",
    ),
    (
        "actions",
        "atlas",
        "brushing",
        "comparing",
        "diagnosis",
        "diagnosis_words",
        "inverting",
        "judging",
        "mechanics_maps",
        "mechanics_page",
        "projections",
        "session",
        "studying",
        "training",
    ),
    (
        "cli",
        "cli_attributions",
        "cli_collections",
        "cli_comparisons",
        "cli_doctor",
        "cli_edits",
        "cli_features",
        "cli_keys",
        "cli_mechanics",
        "cli_predict",
        "cli_scan",
        "console",
        "web",
        "__main__",
    ),
)
LEAVES = ("attributions", "features", "responses", "comparisons", "equivalences", "evaluations", "edits", "checks")
NO_TORCH = (*LEVELS[0], *LEVELS[1])
DOORS = {name for name in LEVELS[5] if name != "__main__"}
DOORS_MAY_IMPORT = {"actions", "draw", "registry", "fields", "results", "errors", *DOORS}

# Upward or sideways imports that are right as they are.
IMPORTS_ALLOWED: dict[tuple[str, str], str] = {
    ("opening", "training"): "demo:digits is a reference to a network that is trained when it is first opened",
}
LONGER_FILES: dict[str, tuple[int, str]] = {
    "network.py": (360, "one class, the noun that everything speaks of; its methods are short"),
}
WIDER_FUNCTIONS: dict[str, str] = {
    "actions/features.py:feature": "a sentence: its optional words are what a question may bring along",
    "actions/evaluating.py:evaluate": "a sentence: what, on what, which, and optional words",
    "judging.py:evaluate": "the same sentence",
    "geometry.py:output_size": "the terms of one formula, as in the paper",
    "sweep.py:__call__": "a sentence: what, on what, where to, and three optional words",
    "actions/fitting.py:fit": "a sentence: its optional words are the command line's options",
    "training.py:train": "the same sentence, and its settings",
    "fit.py:fit": "a sentence: what, on what, and three optional words",
    "mechanics/engine.py:fit": "the same sentence, and its precision",
    "actions/doctoring.py:*": "sentences: model, data, loss, optimiser, and their optional words",
    "diagnosing/proof.py:prove": "a sentence: what, changed how, over how many seeds and steps, in what time",
    "cli_doctor.py:*": "the options of a command",
    "cli.py:*": "the options of a command",
    "cli_mechanics.py:*": "the options of a command",
    "cli_attributions.py:*": "the options of a command",
    "cli_collections.py:*": "the options of a command",
    "cli_comparisons.py:*": "the options of a command",
    "cli_features.py:*": "the options of a command",
    "cli_edits.py:*": "the options of a command",
    "cli_keys.py:*": "the options of a command",
    "cli_predict.py:*": "the options of a command",
    "cli_scan.py:*": "the options of a command",
    "actions/mechanics.py:steps": "a sentence: what, on what, which number, and three optional words",
    "geometry.py:size_formula": "the terms of one formula, as in the paper",
    "incremental/rules.py:*": "the arguments of the operation that is run again",
    "mechanics/capture.py:_batch_norm_in_training": "the arguments of the operation that it replaces",
    "attributions/_map.py:heatmap": "the fields of the result that it makes",
}
UNPICKLERS: dict[str, str] = {"checkpoints.py": "names pickle.UnpicklingError, to catch what safe loading raises"}
EXECUTORS: dict[str, str] = {"editing/writing.py": "runs the file that it has just written from its own graph"}
PROTOCOLS: dict[str, set[str]] = {  # functions that every file of a folder has; the folder's own docstring says what they do
    "draw": {"figure", "renderable", "html", "records"},
    "opening": {"find", "network"},
}


def room(path: Path) -> str:
    """'errors' for errors.py, 'draw' for draw/trace.py."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def level(name: str) -> int | None:
    return next((at for at, names in enumerate(LEVELS) if name in names), None)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it, but for type checking."""
    found: set[str] = set()
    skipped = {
        id(inner)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree(path)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "convscope" else {node.module}
    return found


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("convscope.")}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def test_every_room_has_its_level() -> None:
    unknown = {room(p) for p in FILES if p.parent != SRC or p.stem != "__init__"} - {n for names in LEVELS for n in names}
    assert unknown <= {"__init__", "__main__"}, f"say in LEVELS where these live: {unknown}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_downwards(path: Path) -> None:
    mine, here = room(path), level(room(path))
    if here is None:
        return  # the front door imports what it shows
    for other in rooms_imported(path) - {mine, "__version__"}:
        above = level(other)
        if (mine, other) in IMPORTS_ALLOWED or above is None:
            continue
        assert above <= here, f"{name_of(path)} (L{here}) imports {other} (L{above})"
        assert not (mine in LEVELS[3] and other in LEVELS[3]), f"the leaf {name_of(path)} imports from {other}"


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in DOORS], ids=name_of)
def test_doors_import_sentences_only(path: Path) -> None:
    assert rooms_imported(path) - {"__version__"} <= DOORS_MAY_IMPORT


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in (*NO_TORCH, *DOORS)], ids=name_of)
def test_no_torch_below_the_tensors(path: Path) -> None:
    assert not {name for name in imports(path) if name.split(".")[0] in ("torch", "torchvision")}


@pytest.mark.parametrize(
    "statement",
    [
        "import convscope",
        "import convscope.errors, convscope.results, convscope.registry, convscope.fields",
        "import convscope.operators as o; o.all_operators()",
        "import convscope.store, convscope.draw",
        "from convscope import registry as r; [r.describe(f, n) for f in r.FAMILIES for n in r.names(f)]; r.factories()",
    ],
)
def test_lists_and_drawings_do_not_load_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=False).returncode == 0


def test_help_does_not_load_torch() -> None:
    if not (SRC / "cli.py").exists():
        pytest.skip("there is no command line yet")
    code = (
        "import sys\nfrom convscope.cli import main\nsys.argv = ['convscope', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    leaf = room(path) in LEAVES and not path.name.startswith("_")
    allowed, reason = LONGER_FILES.get(name_of(path), (165 if leaf else 330, ""))  # "about 150" and "about 300"
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= allowed, f"{lines} lines; {reason or 'split it, or say in LONGER_FILES why not'}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_has_six_parameters_at_most(path: Path) -> None:
    for f in functions(path):
        names = [a.arg for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs) if a.arg not in ("self", "cls")]
        allowed = {f"{name_of(path)}:{f.name}", f"{name_of(path)}:*"} & set(WIDER_FUNCTIONS)
        assert len(names) <= 6 or allowed, f"{f.name} takes {len(names)}: {', '.join(names)}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_names_say_what_is_inside(path: Path) -> None:
    assert not {"utils", "util", "helpers", "helper", "common", "manager", "misc"} & set(re.split(r"[_/.]", name_of(path)))


def _is_plain(f: ast.ClassDef | ast.FunctionDef) -> bool:
    """So short that name, types and body say it all."""
    return isinstance(f, ast.FunctionDef) and (f.end_lineno or 0) - f.body[0].lineno < 6


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_is_public_says_what_it_is_for(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module) or not module.body or path.stem == "__main__", "the file has no docstring"
    public = [n for n in module.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and not n.name.startswith("_")]
    known = PROTOCOLS.get(room(path), set())
    bare = [n.name for n in public if not ast.get_docstring(n) and n.name not in known and not _is_plain(n)]
    assert not bare, f"no docstring: {', '.join(bare)}"


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in LEAVES and not p.name.startswith("_")], ids=name_of)
def test_a_leaf_holds_the_class_of_its_name(path: Path) -> None:
    classes = [n.name.lower() for n in tree(path).body if isinstance(n, ast.ClassDef)]
    assert path.stem.replace("_", "") in classes


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_evaluated_unpickled_or_swallowed(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert name_of(path) in UNPICKLERS or not {
        n for n in imports(path) if n.split(".")[0] in ("pickle", "marshal", "shelve", "dill")
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            allowed = node.func.id == "exec" and name_of(path) in EXECUTORS
            assert allowed or node.func.id not in ("eval", "exec"), f"line {node.lineno}"
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("pickle.load", "pickle.loads"), f"line {node.lineno} unpickles"
            unsafe = [
                k
                for k in node.keywords
                if (k.arg, ast.unparse(k.value)) in (("weights_only", "False"), ("allow_pickle", "True"))
            ]
            assert not unsafe, f"line {node.lineno} unpickles"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            if ast.unparse(node.type) in ("Exception", "BaseException"):
                near = lines[node.lineno - 1] + (lines[node.lineno] if node.lineno < len(lines) else "")
                assert re.search(r"#.*[a-z]{3}.* [a-z]+", near.replace("# noqa: BLE001", "#")), (
                    f"line {node.lineno}: say why everything is caught"
                )


TESTS = tuple(
    sorted(
        p
        for p in (ROOT / "tests").rglob("test_*.py")
        if (SRC / p.relative_to(ROOT / "tests").parent / f"{p.stem[5:]}.py").exists()
    )
)


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_mirrored_test_says_which_mutation_turns_it_red(path: Path) -> None:
    assert re.search(r"turns? (it |this |this file |them )?red|mutation", path.read_text(encoding="utf-8"), re.IGNORECASE)
