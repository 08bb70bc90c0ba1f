"""The package has floors, and house rules that a reader may rely on: all of them are read off the source."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "asym_jax"

FLOORS = (
    "config arrays errors commands",
    "models data weights checkpoint sheets",
    "losses metrics pipelines",
    "training evaluation",
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}
SAME_FLOOR = {
    ("weights", "models"),  # files become parameters of our models
    ("commands", "config"),  # the command line is the config, spelled out
    ("commands", "errors"),
}
"""(importer, imported) pairs that are allowed although both are on one floor."""

HOME_OF = {
    "torch": set(),
    "tensorflow": set(),
    "grain": {"data"},
    "array_record": {"data"},
    "tensorflow_datasets": {"data"},
    "pyarrow": {"data"},
    "datasets": {"data"},
    "absl": {"data"},
    "orbax": {"checkpoint"},
    "diffusers": {"pipelines"},
    "transformers": {"pipelines"},
    "safetensors": {"weights"},
    "huggingface_hub": {"weights"},
    "tyro": {"commands"},
    "tensorboardX": {"training"},
    "rich": {"training", "weights", "evaluation"},
}
"""Foreign packages that only these parts may import."""

LONGEST_FILE = 300
LONGEST_FUNCTION = 60
LONGEST_IN_THE_LOOP = 100
SHORT_FUNCTION = 5


def modules(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, folder
    return found


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names, also of imports inside functions."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively; write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part_of(path: Path) -> str:
    """`models` for asym_jax/models/decoder.py, `config` for asym_jax/config.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def code_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring, which may be as long as it needs to be."""
    prose = length(node.body[0]) if ast.get_docstring(node) is not None else 0
    return length(node) - prose


def test_every_part_of_the_package_is_on_a_floor():
    parts = {part_of(path) for path in modules(PACKAGE)} - {"__init__"}
    assert parts == set(FLOOR_OF)


def test_imports_never_climb():
    wrong = []
    for path in modules(PACKAGE):
        home = part_of(path)
        for name in imports(path):
            top, *rest = name.split(".")
            if top != "asym_jax" or rest[0] == home:
                continue
            if FLOOR_OF[rest[0]] >= FLOOR_OF[home] and (home, rest[0]) not in SAME_FLOOR:
                wrong.append(f"{name_of(path)} imports {name}")
    assert wrong == []


def test_foreign_packages_have_one_home():
    wrong = []
    for path in modules(PACKAGE):
        for name in imports(path):
            top = name.partition(".")[0]
            if part_of(path) not in HOME_OF.get(top, {part_of(path)}):
                wrong.append(f"{name_of(path)} imports {top}")
    assert wrong == []


def test_libraries_of_single_formats_are_imported_when_they_are_needed():
    heavy = {"tensorflow_datasets", "array_record", "pyarrow", "datasets"}
    program = "import sys, asym_jax.data.sources as _; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert heavy & set(loaded) == set()


def test_importing_the_package_costs_nothing():
    assert (PACKAGE / "__init__.py").read_text() == ""


@pytest.mark.parametrize(("program", "parser"), [("train.py", "asym_jax.commands"), ("eval.py", "asym_jax.evaluation.command")])
def test_programs_only_parse_wire_and_run(program, parser):
    path = ROOT / program
    assert len(path.read_text().splitlines()) <= 60
    assert {name.partition(".")[0] for name in imports(path)} <= {"asym_jax", "sys", "pathlib"}
    # --help must not wait for JAX: what needs it is imported inside `main`.
    first = {node.module for node in parsed(path).body if isinstance(node, ast.ImportFrom)}
    assert {name for name in first if name.startswith("asym_jax")} == {"asym_jax.commands", parser}


def test_presets_know_the_config_and_nothing_else():
    for path in modules(ROOT / "configs"):
        assert {name.rpartition(".")[0] for name in imports(path)} == {"asym_jax.config"}, name_of(path)


def test_files_and_functions_are_short():
    wrong = []
    for path in (path for folder in ("asym_jax", "configs", "tests", "tools") for path in modules(ROOT / folder)):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            wrong.append(f"{name_of(path)} has {lines} lines")
        most = LONGEST_IN_THE_LOOP if name_of(path) == "asym_jax/training/loop.py" else LONGEST_FUNCTION
        wrong += [
            f"{name_of(path)}: {node.name} has {code_length(node)} lines"
            for node in functions(parsed(path))
            if code_length(node) > most
        ]
    assert wrong == []


def test_what_others_may_call_is_documented():
    wrong = []
    for path in modules(PACKAGE):
        tree = parsed(path)
        if tree.body and ast.get_docstring(tree) is None:
            wrong.append(name_of(path))
        for node in tree.body:
            documented = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if documented and length(node) > SHORT_FUNCTION and ast.get_docstring(node) is None:
                wrong.append(f"{name_of(path)}: {node.name}")
    assert wrong == []


def test_arguments_of_what_others_may_call_are_annotated():
    wrong = []
    for path in modules(PACKAGE):
        for node in functions(parsed(path)):
            if node.name.startswith("_") and not node.name.startswith("__"):
                continue
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
            missing = [one.arg for one in every if one.annotation is None and one.arg not in ("self", "cls")]
            wrong += [f"{name_of(path)}: {node.name}({name})" for name in missing]
    assert wrong == []


def test_nothing_names_a_folder_outside_the_repository():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    forbidden = ("../" + "shared", "." + "library")
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > 50
    texts = {name: (ROOT / name).read_bytes() for name in names}
    wrong = [(name, word) for name, text in texts.items() for word in forbidden if b"\0" not in text and word.encode() in text]
    assert wrong == []
