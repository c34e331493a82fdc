"""The structure of the package: rooms by idea, imports that go one way, and a test file for each module."""

import ast
import graphlib
import importlib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinyllm"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")
TABLES = PACKAGE / "course" / "exercises"  # references, known mistakes and other forms, a chapter at a time
ROOMS = sorted({path.parent for path in FILES} - {PACKAGE})


def name_of(path: Path) -> str:
    """The dotted name of a module: tinyllm.text.bpe, or tinyllm.text for the room itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def imports_of(name: str) -> set[str]:
    """The modules of the package that a module imports, anywhere in it, also where a type checker alone looks."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tinyllm":
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    found &= set(MODULES)
    # `from tinyllm.text import tinywiki` needs the module, and of the room only its docstring.
    return {module for module in found if not any(other.startswith(f"{module}.") for other in found)} - {name}


def room_of(name: str) -> str:
    """A top-level module is a room of its own: tinyllm.run; any other one is in tinyllm.text, tinyllm.model ..."""
    return ".".join(name.split(".")[:2])


def test_no_module_imports_itself_through_others():
    graph = {name: imports_of(name) for name in MODULES if name != "tinyllm"}
    assert len(tuple(graphlib.TopologicalSorter(graph).static_order())) == len(graph)  # a circle is a CycleError
    assert "tinyllm.text.bpe" in graph["tinyllm.text.subword_tokenizer"]  # the graph is not empty by mistake


def arrows() -> set[tuple[str, str]]:
    """Which room imports which."""
    pairs = {(room_of(name), room_of(other)) for name in MODULES for other in imports_of(name)}
    return {(one, other) for one, other in pairs if one != other and one != "tinyllm"}


def test_imports_between_rooms_go_one_way():
    graph: dict[str, set[str]] = {room_of(name): set() for name in MODULES}
    for one, other in arrows():
        graph[one].add(other)
    tuple(graphlib.TopologicalSorter(graph).static_order())
    assert graph["tinyllm.system"] == set()
    assert graph["tinyllm.config"] <= {"tinyllm.system"}
    assert graph["tinyllm.text"] <= {"tinyllm.config", "tinyllm.system"}
    assert graph["tinyllm.model"] <= {"tinyllm.config", "tinyllm.system"}
    assert not graph["tinyllm.training"] & {"tinyllm.run", "tinyllm.probes", "tinyllm.plots"}


def test_there_are_half_as_many_arrows_as_before():
    assert len(arrows()) <= 82  # 165 between the 42 modules of version 0.1.0


@pytest.mark.parametrize("name", MODULES)
def test_production_does_not_import_the_course(name):
    if not name.startswith("tinyllm.course"):
        assert not {other for other in imports_of(name) if other.startswith("tinyllm.course")}


def test_no_two_modules_share_a_name():
    counts = Counter(name.rpartition(".")[2] for name in MODULES)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", MODULES)
def test_no_module_is_hidden_by_a_function_of_its_name(name):
    """`import tinyllm.estimation` gives a module, and so does every other import of one."""
    module = importlib.import_module(name)
    parent, _, last = name.rpartition(".")
    if parent:
        assert getattr(importlib.import_module(parent), last) is module


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_is_in_it(room):
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring) > 100


def home_of_tests(path: Path) -> Path:
    """Where the tests of a module are: tinyllm/text/bpe.py -> tests/text/test_bpe.py."""
    return ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=name_of)
def test_a_modules_tests_are_found_by_its_name(path):
    if path.is_relative_to(TABLES):  # a chapter's references, mistakes and forms together
        path = path.with_stem(path.stem.removesuffix("_mistakes").removesuffix("_forms"))
    assert home_of_tests(path).is_file(), f"{home_of_tests(path).relative_to(ROOT)} is missing"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    if not path.is_relative_to(TABLES):
        assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 40, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
