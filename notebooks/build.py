"""Runs the notebooks and keeps them in the form in which they are committed.

    python notebooks/build.py                   run all notebooks, write them back
    python notebooks/build.py 03_attention      run only this one
    python notebooks/build.py --normalise       run nothing: bring what JupyterLab saved
                                                into the committed form
    python notebooks/build.py --check           write nothing: name the notebooks that
                                                are not in that form
    python notebooks/build.py --repository URL  set the repository's address, and write
                                                the badges that need it
    python notebooks/build.py --book [FOLDER]   make the book, a static site of all
                                                chapters (in site/ by default)

The committed form: fixed kernel metadata, no cell metadata but tags and names of
claims, the bootstrap cell collapsed, ids derived from the content, code cells counted
from 1 to N, adjacent streams joined, no widget state. Notebooks run offline, on one
thread, in a scratch folder.
"""

import argparse
import copy
import hashlib
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
KERNEL = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
COLAB = (
    "accelerator",
    "colab",
)  # the notebook metadata that Colab reads: 08 asks for a GPU
# In the bootstrap cell alone.
ADDRESS_LINE = re.compile(r'^(\s*REPOSITORY = ").*(")', re.MULTILINE)
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def notebooks() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def text_of(notebook: NotebookNode) -> str:
    """The file's content."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


# The committed form


def normalise(notebook: NotebookNode, name: str, repository: str) -> NotebookNode:
    """The same notebook in the committed form; `name` is its file name."""
    metadata = KERNEL | {
        key: notebook.metadata[key] for key in COLAB if key in notebook.metadata
    }
    result = nbformat.v4.new_notebook(metadata=metadata)
    seen: dict[str, int] = {}
    count = 0
    for cell in notebook.cells:
        source = cell.source.rstrip()
        if not source:
            continue
        if cell.cell_type == "markdown":
            new = nbformat.v4.new_markdown_cell(_with_badge(source, name, repository))
        else:
            count += 1
            outputs = _outputs(cell.outputs, count)
            source = _with_repository(source, repository)
            new = nbformat.v4.new_code_cell(
                source, execution_count=count, outputs=outputs
            )
        new.metadata |= _metadata(cell)
        digest = _digest(new)
        seen[digest] = seen.get(digest, 0) + 1
        new["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        result.cells.append(new)
    return result


def _digest(cell: NotebookNode) -> str:
    """What the id of a cell with this content begins with."""
    content = f"{cell.cell_type} {cell.source}".encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _metadata(cell: NotebookNode) -> dict[str, object]:
    """Tags, and names of claims (tests/claims); the bootstrap cell is collapsed."""
    kept = {
        key: sorted(cell.metadata[key])
        for key in ("tags", "claims")
        if cell.metadata.get(key)
    }
    if cell.cell_type == "code" and ADDRESS_LINE.search(cell.source):
        kept["jupyter"] = {"source_hidden": True}
    return kept


def _outputs(outputs: list[NotebookNode], count: int) -> list[NotebookNode]:
    """Outputs without widget views, adjacent streams of the same name joined.

    A widget shows a picture too, as an output of its own, which stays.
    """
    result: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if (
                result
                and result[-1].output_type == "stream"
                and result[-1].name == output.name
            ):
                result[-1].text += output.text
                continue
            output = nbformat.v4.new_output(
                "stream", name=output.name, text=output.text
            )
        elif output.output_type in ("execute_result", "display_data"):
            data = {
                kind: value
                for kind, value in output.data.items()
                if "widget" not in kind
            }
            if not data:
                continue
            metadata = {
                kind: value for kind, value in output.metadata.items() if kind in data
            }
            if not data:  # a bar that has gone
                continue
            output = nbformat.v4.new_output(output.output_type, data, metadata=metadata)
            if output.output_type == "execute_result":
                output["execution_count"] = count
        result.append(output)
    return result


# The repository's address, which is kept in pyproject.toml


def repository_address() -> str:
    """The address in pyproject.toml, or "" while there is none."""
    found = re.search(
        r'^Repository = "(.*)"$',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return found[1] if found else ""


def set_repository(address: str) -> None:
    """Write the address into pyproject.toml's [project.urls]."""
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", address):
        raise SystemExit(f"{address!r} is not an address like https://HOST/OWNER/NAME")
    path = ROOT / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\[project\.urls\]\nRepository = .*\n\n", "", text)
    section = f'[project.urls]\nRepository = "{address}"\n\n'
    path.write_text(
        text.replace(
            "[project.optional-dependencies]",
            section + "[project.optional-dependencies]",
        )
    )


def _with_badge(source: str, name: str, repository: str) -> str:
    """A title cell gets an Open-in-Colab badge, where the address is known."""
    source = re.sub(rf"\n\n\[!\[[^\]]*\]\({re.escape(BADGE)}\)\]\(\S+\)", "", source)
    if not source.startswith("# ") or not repository:
        return source
    owner_and_name = (
        repository.removeprefix("https://").split("/", 1)[1].removesuffix(".git")
    )
    link = f"https://colab.research.google.com/github/{owner_and_name}/blob/main/notebooks/{name}"
    title, _, rest = source.partition("\n")
    return f"{title}\n\n[![Open in Colab]({BADGE})]({link})\n{rest}"


def _with_repository(source: str, repository: str) -> str:
    """The bootstrap cell with the address that pip installs the course from."""
    address = repository and f"git+{repository}"
    return ADDRESS_LINE.sub(rf"\g<1>{address}\g<2>", source)


# Running


def run(notebook: NotebookNode) -> NotebookNode:
    """The notebook with new outputs; an error in a cell raises.

    Cells tagged nbval-skip are not run. An output that differs from run to run
    (nbval-ignore-output) is compared by no test and stays as committed, unless the cell
    has changed since: its id tells, as long as the notebook was not normalised in
    between. Clear it to have it made again.
    """
    from nbclient import NotebookClient

    result = copy.deepcopy(notebook)
    NotebookClient(
        result,
        timeout=600,
        skip_cells_with_tag="nbval-skip",
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    for old, new in zip(notebook.cells, result.cells, strict=True):
        ignored = "nbval-ignore-output" in new.metadata.get("tags", ())
        if ignored and old.outputs and old.id.startswith(_digest(old)):
            new.outputs = old.outputs
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", help="notebooks, with or without .ipynb (default: all)"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true")
    action.add_argument("--normalise", action="store_true")
    action.add_argument("--repository", metavar="URL")
    action.add_argument(
        "--book", metavar="FOLDER", type=Path, nargs="?", const=ROOT / "site"
    )
    arguments = parser.parse_args()
    paths = [
        FOLDER / f"{Path(name).stem}.ipynb" for name in arguments.names
    ] or notebooks()

    if arguments.book:
        from book.book import make_book

        make_book(arguments.book)
        print(f"the book is written: open {arguments.book / 'index.html'}")
        return
    if arguments.repository:
        set_repository(arguments.repository)
    runs = not (arguments.check or arguments.normalise or arguments.repository)
    if runs:
        sys.path.append(str(ROOT / "tests"))
        from isolation import isolate

        scratch = isolate()
    changed = []
    try:
        for path in paths:
            before = path.read_text(encoding="utf-8")
            notebook = read(path)
            if runs:
                print(f"running {path.name}")
                notebook = run(notebook)
            notebook = normalise(notebook, path.name, repository_address())
            if text_of(notebook) != before:
                changed.append(path.name)
                if not arguments.check:
                    path.write_text(text_of(notebook), encoding="utf-8")
    finally:
        if runs:
            shutil.rmtree(scratch, ignore_errors=True)
    if arguments.check and changed:
        raise SystemExit(
            f"not in the committed form: {', '.join(changed)}; "
            "run python notebooks/build.py"
        )


if __name__ == "__main__":
    main()
