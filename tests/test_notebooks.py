"""The notebooks as files: their form, structure and promises. `pytest --nbval` tests that they run."""

import ast
import builtins
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tinyllm.course.checking import predictions
from tinyllm.course.checking import registry as checking

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in PATHS]
COURSE = [
    "00_start_here", "01_tokenization", "02_data", "03_attention", "04_transformer_block", "05_gpt", "06_training",
    "07_sampling", "08_wikitext103", "09_modern_recipe", "10_inside_the_model", "11_bug_clinic",
    "12_scaling", "13_finetuning", "14_reinforcement", "A1_pytorch_primer", "A2_backpropagation",
]  # fmt: skip
BUILDING = [*COURSE[1:8], *COURSE[9:11], *COURSE[12:15], "A2_backpropagation"]  # those that build a part and prove it
ADDRESS = re.compile(r"https?://[^\s)\"'>]+")

spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


def cells(name: str, kind: str) -> list:
    return [cell for cell in build.read(FOLDER / f"{name}.ipynb").cells if cell.cell_type == kind]


def tagged(cell, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def prose(name: str) -> str:
    return "\n\n".join(cell.source for cell in cells(name, "markdown"))


def code(name: str) -> str:
    return "\n\n".join(cell.source for cell in cells(name, "code"))


def headings(name: str) -> list[str]:
    return re.findall(r"^#+ .*", prose(name), re.MULTILINE)


def test_the_course_is_complete():
    assert NAMES == COURSE


# Their form


@pytest.mark.parametrize("name", COURSE)
def test_a_notebook_is_in_the_committed_form(name):
    path = FOLDER / f"{name}.ipynb"
    notebook = build.normalise(build.read(path), path.name, build.repository_address())
    assert build.text_of(notebook) == path.read_text(encoding="utf-8"), "run python notebooks/build.py"
    nbformat.validate(notebook)


@pytest.mark.parametrize("name", COURSE)
def test_normalising_undoes_what_an_editor_adds(name):
    """JupyterLab adds metadata, ids, counts and split streams when it runs and saves a notebook."""
    path = FOLDER / f"{name}.ipynb"
    saved = build.read(path)
    saved.metadata["widgets"] = {"state": {}}
    saved.metadata["language_info"] = {"name": "python", "version": "3.11.2", "mimetype": "text/x-python"}
    saved.metadata["kernelspec"]["display_name"] = "my environment"
    for index, cell in enumerate(saved.cells):
        cell["id"] = f"another-{index}"
        cell.metadata["collapsed"] = False
        cell.source += "\n"
        if cell.cell_type == "code":
            cell.execution_count = 7 * index
            for output in list(cell.outputs):
                if output.output_type == "stream" and len(output.text) > 1:
                    half = nbformat.v4.new_output("stream", name=output.name, text=output.text[:1])
                    output.text = output.text[1:]
                    cell.outputs.insert(cell.outputs.index(output), half)
    assert build.text_of(saved) != path.read_text(encoding="utf-8")
    again = build.normalise(saved, path.name, build.repository_address())
    assert build.text_of(again) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COURSE)
def test_only_the_bootstrap_cell_is_collapsed(name):
    """By what is in it, also where an editor has opened it; a cell that an editor has collapsed is opened."""
    path = FOLDER / f"{name}.ipynb"
    opened = build.read(path)
    for cell in opened.cells:
        cell.metadata["jupyter"] = {"source_hidden": not tagged(cell, "bootstrap")}
    hidden = [cell for cell in build.normalise(opened, path.name, "").cells if "jupyter" in cell.metadata]
    assert [tagged(cell, "bootstrap") for cell in hidden] == [True]
    assert hidden[0].metadata["jupyter"] == {"source_hidden": True}


def test_an_emptied_output_is_dropped_and_the_text_around_it_joined():
    """What is left of a bar: tinyllm/course/run_bar.py."""
    before, after = (nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("before\n", "after\n"))
    bar = nbformat.v4.new_output("display_data", {})
    cell = nbformat.v4.new_code_cell("x = 1", outputs=[before, bar, after])
    [normal] = build.normalise(nbformat.v4.new_notebook(cells=[cell]), "x.ipynb", "").cells
    assert [output.text for output in normal.outputs] == ["before\nafter\n"]


def test_build_check_names_a_notebook_in_another_form(tmp_path):
    copy_course(tmp_path)
    command = [sys.executable, str(tmp_path / "notebooks" / "build.py"), "--check"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    path = tmp_path / "notebooks" / "03_attention.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace('"name": "python3"', '"name": "other"'), encoding="utf-8")
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode != 0
    assert "03_attention.ipynb" in found.stderr
    assert "02_data" not in found.stderr
    subprocess.run([*command[:-1], "--normalise"], check=True)
    assert subprocess.run(command, capture_output=True).returncode == 0


# Their structure


@pytest.mark.parametrize("name", COURSE)
def test_it_opens_with_its_question_and_closes_with_what_comes_next(name):
    opening, closing = cells(name, "markdown")[0].source, cells(name, "markdown")[-1].source
    assert re.match(rf"# {name[:2]} \w", opening)
    assert "?" in opening
    assert all(f"**{part}:**" in opening for part in ("You will have built", "You need"))
    assert re.search(r"\*\*Time:\*\* \d+", opening)
    assert any(heading == "## Summary" for heading in headings(name))
    summary = prose(name).partition("## Summary")[2]
    assert len(re.findall(r"^(?:\d\.|-) ", summary, re.MULTILINE)) == 5
    assert re.search(r"\*\*Sources[:*]", closing)
    assert re.search(r"\b(19|20)\d\d\b", closing)
    assert re.search(r"\*\*Next[:*]", closing)


@pytest.mark.parametrize("name", [name for name in COURSE[1:] if name != "A1_pytorch_primer"])
def test_it_asks_three_questions_about_the_previous_chapter(name):
    recall = next(cell.source for cell in cells(name, "markdown") if cell.source.startswith("## Recall"))
    assert recall.count("<details>") == recall.count("</details>") == recall.count("<summary>") == 3
    assert recall.count("?") >= 3


@pytest.mark.parametrize("name", BUILDING)
def test_it_proves_what_it_builds(name):
    titles = headings(name)
    assert "## The proof" in titles
    assert titles.index("## The proof") < titles.index("## Summary")
    notebook = build.read(FOLDER / f"{name}.ipynb").cells
    start = next(index for index, cell in enumerate(notebook) if "## The proof" in cell.source)
    proof = "\n".join(cell.source for cell in notebook[start:] if cell.cell_type == "code")
    assert "from tinyllm" in proof
    assert "assert" in proof
    if name[:2] in ("02", "03", "04", "05", "09", "13", "14", "A2"):
        assert "backward()" in proof
        assert "assert_close" in proof
    if name[:2] in ("03", "04", "05", "09"):
        assert "probe" in proof


@pytest.mark.parametrize("name", COURSE[2:7])
def test_it_ends_with_a_rung_of_the_ladder(name):
    assert "## The ladder" in headings(name)
    assert "short_run(" in code(name)
    assert re.search(r"\bladder\(", code(name))


@pytest.mark.parametrize("name", COURSE)
def test_its_cells_are_short_and_it_marks_halfway(name):
    sources = [cell.source for cell in cells(name, "code") if not tagged(cell, "bootstrap")]
    lines = [source.count("\n") + 1 for source in sources]
    assert median(lines) <= 7
    assert max(lines) <= 30
    if name in BUILDING:
        assert 25 <= len(sources) <= 55
        assert "**Halfway.**" in prose(name)


def test_the_bootstrap_cell_is_the_same_everywhere_and_comes_before_other_code():
    first = {cells(name, "code")[0].source for name in COURSE}
    assert len(first) == 1
    assert all(tagged(cells(name, "code")[0], "bootstrap") for name in COURSE)


def test_every_exercise_appears_untouched_in_a_notebook():
    checking.load_chapters()
    asked: dict[str, str] = {}
    for name in COURSE:
        for cell in cells(name, "code"):
            for exercise in re.findall(r'^\w+ = check\(\s*"([\w.]+)"', cell.source, re.MULTILINE):
                asked[exercise] = name
                assert "raise NotImplementedError" in cell.source, exercise
                assert "not attempted yet" in cell.outputs[0].text, exercise
    assert set(asked) == set(checking.EXERCISES)
    per_chapter = {name: list(asked.values()).count(name) for name in BUILDING}
    assert min(per_chapter.values()) >= 4, per_chapter


def nodes(name: str) -> list[ast.AST]:
    """Of all the notebook's code; its magic commands do nothing here."""
    source = re.sub(r"^( *)%.*", r"\1pass", code(name), flags=re.MULTILINE)
    return list(ast.walk(ast.parse(source)))


def imported(name: str) -> set[str]:
    aliases = [alias for node in nodes(name) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    return {(alias.asname or alias.name).partition(".")[0] for alias in aliases}


def calls_in(text: str) -> set[str]:
    """The names of functions that a text calls in its code, such as hint of `hint("data.floor")`."""
    called = set()
    for source in re.findall(r"`([^`\n]+)`", text):
        try:
            found = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        except SyntaxError:  # a word, a path, a command
            continue
        called |= {function.id for function in found if isinstance(function, ast.Name)}
    return {function for function in called if len(function) > 1}  # a letter stands for any function


@pytest.mark.parametrize("name", COURSE)
def test_what_a_text_tells_to_call_can_be_called(name):
    """Where there are exercises also what 00 tells a learner who is stuck."""
    own = {node.name for node in nodes(name) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    methods = {node.attr for node in nodes(name) if isinstance(node, ast.Attribute)}
    helpers = {"hint", "progress", "solution"} if "= check(" in code(name) else set()
    assert calls_in(prose(name)) | helpers <= own | imported(name) | methods | set(dir(builtins))


@pytest.mark.parametrize("name", COURSE)
def test_nothing_is_imported_for_nothing_but_what_a_learner_types(name):
    used = {node.id for node in nodes(name) if isinstance(node, ast.Name)}
    assert imported(name) - used <= {"hint", "predict", "progress", "solution"}


def test_every_prediction_is_asked_without_an_answer():
    predictions.load_questions()
    calls = re.compile(r'^predict\("([\w.]+)", (.+)\)$', re.MULTILINE)
    asked = [call for name in COURSE for call in calls.findall(code(name))]
    assert {name for name, _ in asked} == set(predictions.PREDICTIONS)
    assert {guess for _, guess in asked} == {"None"}


def test_no_class_is_pasted_from_one_notebook_into_another():
    seen: dict[str, str] = {}
    for name in COURSE:
        for class_name in re.findall(r"^class (\w+)", code(name), re.MULTILINE):
            assert class_name not in seen, f"{class_name} is in {seen.get(class_name)} and in {name}"
            seen[class_name] = name


# What they say


@pytest.mark.parametrize("name", COURSE)
def test_its_sections_are_numbered_one_by_one(name):
    numbers = [int(number) for number in re.findall(r"^## (\d+) ", prose(name), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", COURSE)
def test_nothing_is_said_twice(name):
    """A section that was moved by copying it stands there twice, and its first copy is the old one."""
    paragraphs = [part for part in prose(name).split("\n\n") if part.startswith("#") or len(part) > 80]
    assert [part for part, count in Counter(paragraphs).items() if count > 1] == []


@pytest.mark.parametrize("name", COURSE)
def test_links_lead_to_files_and_pictures_have_alt_text(name):
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", prose(name)):
        assert (FOLDER / target.partition("#")[0]).exists(), target
    for cell in cells(name, "code"):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 20, cell.source
                assert output.data["text/plain"] == output.metadata["image/png"]["alt"]


@pytest.mark.parametrize("name", COURSE)
def test_outputs_contain_no_error_no_warning_and_no_path_of_this_machine(name):
    notebook = build.read(FOLDER / f"{name}.ipynb")
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(/tmp/|/home/|/root/|/work/|/usr/|[A-Z]:\\)", text), text


@pytest.mark.parametrize("name", COURSE)
def test_each_assert_says_what_to_do_where_it_fails(name):
    """A learner meets it after a cell that was not run, or a value of their own. One text for all would say nothing."""
    asserts = [node for node in nodes(name) if isinstance(node, ast.Assert)]
    messages = Counter(ast.unparse(node.msg) if node.msg else "no message" for node in asserts)
    bare = [ast.unparse(node) for node in asserts if node.msg is None or is_blank(node.msg)]
    assert bare == []
    assert [message for message, count in messages.items() if count > 2] == []


def is_blank(message: ast.expr) -> bool:
    """Whether a message has no word of its own, as `""`, `f"{x}"` and `x` have none."""
    texts = [part.value for part in ast.walk(message) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return not re.search(r"[^\W\d_]{2}", " ".join(texts))


@pytest.mark.parametrize("name", COURSE)
def test_no_printed_line_is_too_long_for_a_laptop(name):
    """JupyterLab wraps it in mid-word, GitHub scrolls it sideways. Beside a picture the text is its alt text."""
    lines = []
    for cell in cells(name, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if not any(kind.startswith("image/") for kind in data):
                lines += (output.get("text", "") + data.get("text/plain", "")).splitlines()
    assert [line for line in lines if columns(line) > 88] == []


def columns(line: str) -> int:
    """A letter of Chinese, Japanese or Korean takes two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line)


def test_the_repository_address_is_kept_in_pyproject_alone():
    """There is none until it is known. Then build.py writes it into the notebooks, and no other file contains it."""
    address = build.repository_address()
    for path in PATHS:
        text = path.read_text(encoding="utf-8")
        assert ("colab.research.google.com" in text) == bool(address)
        assert f'REPOSITORY = \\"{address and "git+" + address}\\"' in text
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.yml"), *ROOT.glob("tinyllm/**/*.py")]:
        assert not address or address not in path.read_text(encoding="utf-8"), path


def copy_course(folder: Path) -> None:
    shutil.copytree(FOLDER, folder / "notebooks", ignore=shutil.ignore_patterns("my", "models", ".ipynb_checkpoints"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def test_setting_the_repository_writes_badges_that_name_their_own_file(tmp_path):
    copy_course(tmp_path)
    address = "https://example.org/someone/somewhere"
    command = [sys.executable, str(tmp_path / "notebooks" / "build.py"), "--repository"]
    for _ in range(2):  # the second time changes nothing
        subprocess.run([*command, address], check=True)
        assert f'[project.urls]\nRepository = "{address}"\n' in (tmp_path / "pyproject.toml").read_text()
        assert (tmp_path / "pyproject.toml").read_text().count(address) == 1
        for name in COURSE:
            text = (tmp_path / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
            link = f"https://colab.research.google.com/github/someone/somewhere/blob/main/notebooks/{name}.ipynb"
            assert text.count(link) == text.count("colab-badge.svg") == 1
            assert f'REPOSITORY = \\"git+{address}\\"' in text
    subprocess.run([*command[:-1], "--check"], check=True)
    assert subprocess.run([*command, "not an address"], capture_output=True).returncode != 0


# The bootstrap cell


@pytest.fixture
def bootstrap(monkeypatch, tmp_path):
    """Runs the bootstrap cell in an empty folder, without tinyllm; returns the arguments of the pip command."""

    def run(address: str = "") -> list[str]:
        source = build._with_repository(cells("00_start_here", "code")[0].source, address)
        commands = []
        shell = SimpleNamespace(run_line_magic=lambda *command: commands.append(command))
        names = {"get_ipython": lambda: shell}
        exec(TransformerManager().transform_cell(source), names)
        [(magic, arguments)] = commands
        assert magic == "pip"
        return shlex.split(arguments.format_map(names))

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tinyllm" else find(name))
    monkeypatch.delenv("TINYLLM_SOURCE", raising=False)
    folder = tmp_path / "elsewhere" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return run


@pytest.mark.parametrize("source", ["/some folder/course", "git+https://example.org/o/n", "git+file:///a/course.git"])
def test_the_bootstrap_cell_prefers_the_source_that_is_set(bootstrap, monkeypatch, source):
    monkeypatch.setenv("TINYLLM_SOURCE", source)
    monkeypatch.chdir(FOLDER)
    assert bootstrap("https://example.org/someone/somewhere") == ["install", "--quiet", source]


def test_the_bootstrap_cell_installs_from_its_checkout_before_the_repository(bootstrap, monkeypatch):
    address = "https://example.org/someone/somewhere"
    assert bootstrap(address) == ["install", "--quiet", f"git+{address}"]
    monkeypatch.chdir(FOLDER)
    assert bootstrap(address) == ["install", "--quiet", ".."]


@pytest.mark.parametrize("source", [None, ""])
def test_the_bootstrap_cell_without_any_source_says_in_one_line_what_to_set(bootstrap, monkeypatch, source):
    if source is not None:
        monkeypatch.setenv("TINYLLM_SOURCE", source)
    with pytest.raises(SystemExit, match=r"^Set TINYLLM_SOURCE to [^\n]+$"):
        bootstrap()


def test_the_bootstrap_cell_installs_the_course_from_a_bare_clone_and_leaves_torch_alone(tmp_path):
    """In a new environment that has torch and the rest, but not tinyllm. Notebook 01 then runs there to its end."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    import torch

    shared = tmp_path / "shared"  # the packages of this environment, without the course
    shared.mkdir()
    for path in Path(torch.__file__).parent.parent.iterdir():
        if "tinyllm" not in path.name and path.suffix != ".pth":
            (shared / path.name).symlink_to(path)
    (own / "shared.pth").write_text(f"{shared}\n")
    clone = tmp_path / "course.git"
    work = tmp_path / "work"
    shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns(".git", ".venv", "models", "my", "*.egg-info", "build"))
    identity = ["-c", "user.name=a test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "the course"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(clone)], check=True)

    before = subprocess.check_output([python, "-c", "import torch; print(torch.__file__)"], text=True)
    missing = subprocess.run([python, "-c", "import tinyllm"], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'tinyllm'" in missing.stderr
    script = tmp_path / "run.py"
    script.write_text(RUN_CELLS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = os.environ | {
        "TINYLLM_SOURCE": f"git+{clone.as_uri()}", "TINYLLM_HOME": str(tmp_path / "home"),
        "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1",
    }  # fmt: skip
    notebook = FOLDER / "01_tokenization.ipynb"  # its cell is that of all chapters, and it trains no model
    done = subprocess.run(
        [python, str(script), str(notebook)], cwd=elsewhere, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all cells ran" in done.stdout
    both = "import tinyllm, torch; print(tinyllm.__file__); print(torch.__file__)"
    where = subprocess.check_output([python, "-c", both], cwd=elsewhere, text=True).splitlines()
    assert Path(where[0]).is_relative_to(environment)
    assert where[1] == before.strip()


RUN_CELLS = """
import json, sys
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in cells:
    if cell["cell_type"] == "code" and "nbval-skip" not in cell["metadata"].get("tags", []):
        result = shell.run_cell("".join(cell["source"]))
        result.raise_error()
print("all cells ran")
"""


def test_each_term_of_the_glossary_is_explained_in_a_chapter_that_it_names():
    text = {path.stem.partition("_")[0]: build.read(path).cells for path in build.notebooks()}
    text = {number: " ".join(cell.source for cell in cells).replace("*", "").lower() for number, cells in text.items()}
    lines = (FOLDER / "glossary.md").read_text(encoding="utf-8").splitlines()[6:]
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    assert len(rows) > 90
    for names, _, chapters in rows:
        terms = [re.sub(r"`|\*|\(.*\)", "", name).strip().lower() for name in names.split(",")]
        named = [text[chapter.strip()] for chapter in chapters.split(",")]
        assert all(any(term in chapter for chapter in named) for term in terms), names
        assert all(any(term in chapter for term in terms) for chapter in named), names


STRESSED = {
    "00": "TinyWiki, knows nothing, Predict, then measure, Exercises, The proof, The ladder", "01": "bytes",
    "02": "The uniform guess", "08": "WikiText-103, estimates, first step, later steps, T4, Llama",
    "09": "Soft-capping, biases, start at zero, rate for the embeddings, wider draw",
    "10": "patch, the rest run on, hold the rest",
    "11": "Decode a batch, Blind the model, Look at each layer, One batch, Attention, Count the weights, causality, "
    "first loss, one pass or many steps, average", "A1": "PyTorch", "A2": "weight, error, inputs",
}  # fmt: skip


def test_each_term_in_bold_is_in_the_glossary():
    """But for words that are only stressed, numbers, and the heads of lists, which end in a mark."""
    lines = (FOLDER / "glossary.md").read_text(encoding="utf-8").splitlines()[6:]
    names = {name.lower() for line in lines for name in re.split(r", | \(|\)", line.split("|")[1].strip())}
    names |= {name.removesuffix("s") for name in names} | {line.split("|")[1].strip().lower() for line in lines}
    for path in build.notebooks():
        texts = [cell.source for cell in build.read(path).cells if cell.cell_type == "markdown"]
        bold = {term for text in texts for term in re.findall(r"\*\*([^*\n]*[^*\n.:?])\*\*", text)}
        bold = {term for term in bold if not re.search("±|^[-0-9]", term)}
        known = {term for term in bold if {term.lower().removesuffix(end) for end in ("", "s", "es")} & names}
        stressed = STRESSED.get(path.stem.partition("_")[0], "")
        assert not {term for term in bold - known if term not in stressed}, path.stem


def test_an_output_that_is_not_compared_stays_only_as_long_as_its_cell(tmp_path):
    """Otherwise a cell that was rewritten would keep, unseen, what it printed before."""
    same, rewritten = (nbformat.v4.new_code_cell(f"print({number})") for number in (1, 2))
    notebook = nbformat.v4.new_notebook(cells=[same, rewritten])
    for cell in notebook.cells:
        cell.metadata["tags"] = ["nbval-ignore-output"]
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="as committed")]
    notebook = build.normalise(notebook, "test.ipynb", "")
    notebook.cells[1].source = "print(3)"
    assert [cell.outputs[0].text for cell in build.run(notebook).cells] == ["as committed", "3\n"]
