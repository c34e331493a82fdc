"""The package as a whole: what importing it costs, what it depends on, and what README promises."""

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


def installed(names: str) -> list[str]:
    """The sub-packages that exist in the checkout, as dotted names."""
    return sorted(".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / names).rglob("__init__.py"))


def test_every_room_is_installed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(packages) == sorted([*installed("tinyllm"), "tinyllm.figures"])


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/*.yml"),
        ("vendor.citation-file-format", "CITATION.cff"),
    ],
)
def test_the_files_that_others_read_have_their_form(schema, files):
    paths = sorted(ROOT.glob(files))
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_workflow_calls_the_same_script_as_ci():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert {"run": "bash .ci/run"} in workflow["jobs"]["everything"]["steps"]


def test_version_changelog_and_citation_agree():
    version = PROJECT["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    said = subprocess.run([sys.executable, "-m", "tinyllm", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == f"tinyllm {version}"


def test_readme_is_short():
    assert README.count("\n") <= 190


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
    assert commands()[1].endswith("python -m pytest --nbval -n 2 --dist loadfile")  # strict: every output is compared


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
