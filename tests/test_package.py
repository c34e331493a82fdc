"""The package as a whole: what importing it costs, what it depends on, and what README promises."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import tinyllm
from tinyllm.estimation import count_parameters
from tinyllm.presets import PRESETS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
MODULES = {path.stem: path for path in (ROOT / "tinyllm").glob("*.py")}

# What Google Colab ships: installing the course there must replace none of it.
COLAB = {
    "torch": "2.11.0", "datasets": "4.0.0", "ipywidgets": "7.7.1", "tiktoken": "0.14.0", "matplotlib": "3.10.0",
    "numpy": "2.1.0",
}  # fmt: skip


def test_importing_is_light():
    heavy = "matplotlib", "datasets", "ipywidgets", "pyarrow", "tyro", "transformers"
    code = f"import sys, tinyllm; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_version_and_type_marker():
    assert tinyllm.__version__ == PROJECT["version"]
    assert (ROOT / "tinyllm" / "py.typed").exists()


def test_every_public_name_has_a_docstring():
    missing = [name for name in tinyllm.__all__ if name != "PRESETS" and not getattr(tinyllm, name).__doc__]
    assert missing == []


def test_imports_go_one_way():
    """No module imports, directly or through others, one that imports it."""
    needs: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        found = {node.module.removeprefix("tinyllm.") for node in imports if node.module.startswith("tinyllm.")}
        found |= {alias.name for node in imports if node.module == "tinyllm" for alias in node.names}
        needs[name] = found & set(MODULES)

    def reaches(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        assert name not in seen, f"{name} imports itself through {sorted(seen)}"
        return needs[name].union(*(reaches(other, seen | {name}) for other in needs[name]))

    assert "training" in reaches("__main__")
    assert reaches("config") == set()
    assert reaches("tokenizer") <= {"bpe", "files", "network"}
    assert reaches("attention") <= {"config", "dropout_attention", "linear"}
    assert reaches("model") <= {"attention", "feedforward", "loss"} | reaches("attention")
    assert reaches("optim") <= {"attention"} | reaches("attention")


def test_environment_and_pyproject_agree():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = {"pytorch": "torch"}  # conda-forge's name for it
    conda_floors = {}
    for line in (line for line in conda if isinstance(line, str) and line not in ("pip",)):
        name, _, floor = line.partition(">=")
        conda_floors[names.get(name, name)] = floor
    extras = PROJECT["optional-dependencies"]
    nbval = [line for line in extras["test"] if line.startswith("nbval")]
    wanted = {"python": PROJECT["requires-python"].removeprefix(">=")}
    for line in PROJECT["dependencies"] + extras["lab"] + nbval:
        name, _, floor = line.partition(">=")
        wanted[name] = floor
    assert conda_floors == wanted
    assert conda[-1] == {"pip": ["-e ."]}


def test_floors_admit_what_colab_ships():
    requirements = {Requirement(line).name: Requirement(line) for line in PROJECT["dependencies"]}
    for name, version in COLAB.items():
        assert requirements[name].specifier.contains(version), requirements[name]


def commands() -> list[str]:
    return re.findall(r"<!-- \w+ command -->\n```\n(.+)\n```\n<!-- end -->", README)


def test_readme_has_two_one_line_commands_for_a_fresh_machine():
    assert len(commands()) == 2
    for command in commands():
        assert command.startswith("python3 -m venv --clear .venv && .venv/bin/pip install")
        assert '"torch==2.13.*"' in command
    assert commands()[0].endswith("python -m tinyllm quickstart")
    assert commands()[1].endswith("python -m pytest --nbval")  # strict: every output is compared


def test_ci_calls_the_readme_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- test command -->" in script
    assert "README.md" in script


@pytest.mark.parametrize("name", PRESETS)
def test_readme_states_each_presets_parameters(name):
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
    exact = count_parameters(PRESETS[name].model)
    assert f"{exact:,}" in row, f"README says {row}, the preset has {exact:,}"


def test_readme_pictures_exist_and_have_alt_text():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(pictures) >= 2
    for text, path in pictures:
        assert len(text) > 20, path
        assert (ROOT / path).exists(), path


def test_no_text_names_the_other_project_on_pypi():
    wrong = re.compile(r"pip install (-\S+ )*tinyllm(?![-\w])")
    for path in [*ROOT.glob("*.md"), *ROOT.glob("tinyllm/**/*.py"), *ROOT.glob("*.yml")]:
        assert not wrong.search(path.read_text(encoding="utf-8")), path
