"""Makes the book: the chapters as they are committed, the glossary and the package's reference, as a static site.

Sphinx does the work. Here the sources are prepared for it in a scratch folder: chapters with alt text and links to the
glossary, and a page of the reference for each room of the package.
"""

import html
import importlib
import pkgutil
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent
ROOT = NOTEBOOKS.parent
_REMOTE_IMAGE = re.compile(r"!\[([^\]]*)\]\(https?:[^)]*\)")  # Colab's badge: in the book, its alt text is the link
CARD = (800, 600)  # the course map's width and height, in its own units
_NOT_PROSE = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|!?\[[^\]]*\]\([^)]*\)|<[^>]*>|^#.*?$|^\|.*?$|\*\*[^*]*\*\*",
    re.DOTALL | re.MULTILINE,
)


def make_book(folder: Path) -> None:
    """Write the site into `folder`: new, empty or an earlier site. Raises SystemExit with what is wrong."""
    try:
        from sphinx.cmd.build import main as sphinx
    except ImportError:
        raise SystemExit('the book needs its tools: pip install -e ".[book]"') from None
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "searchindex.js").exists():
        raise SystemExit(f"{folder} has other files in it: name another folder")
    sys.path.insert(0, str(ROOT))  # the reference describes this checkout
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        write_sources(source)
        if sphinx(["-q", "-W", "--keep-going", "-d", f"{scratch}/doctrees", str(source), f"{scratch}/site"]):
            raise SystemExit("the book was not written: mend what Sphinx names above")
        for page in Path(scratch, "site").rglob("*.html"):
            page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(f"{scratch}/site", folder, ignore=shutil.ignore_patterns(".buildinfo", "objects.inv"))


def write_sources(folder: Path) -> None:
    """Everything that Sphinx reads."""
    (folder / "_static").mkdir(parents=True)
    shutil.copy(HERE / "conf.py", folder)
    shutil.copy(HERE / "book.css", folder / "_static")
    shutil.copy(ROOT / "figures" / "course_map.png", folder / "_static")
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    terms = read_glossary()
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(chapter(notebook, terms), folder / path.name)
    (folder / "glossary.md").write_text(glossary_page(terms), encoding="utf-8")
    index = (HERE / "index.md").read_text(encoding="utf-8")
    index = index.replace("{{map}}", course_map()).replace("{{chapters}}", "\n".join(path.stem for path in paths))
    (folder / "index.md").write_text(index, encoding="utf-8")
    write_reference(folder)


def accessible(page: str) -> str:
    """What Sphinx and the theme leave out: levels of headings, code that the keyboard scrolls, lists that are lists."""
    page = page.replace('class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"')
    page = page.replace("<pre>", '<pre tabindex="0">')

    def parameters(match: re.Match[str]) -> str:
        return match[0].replace("dl>", "div>").replace("<dd>", '<div class="sig-line">').replace("</dd>", "</div>")

    return re.sub(r"<dl>\n(<dd>.*</dd>\n)+</dl>", parameters, page)


# Chapters


def chapter(notebook: NotebookNode, terms: dict[str, str]) -> NotebookNode:
    """A notebook as a page: without the cell that installs the course, with alt texts and links to the glossary."""
    notebook.cells = [cell for cell in notebook.cells if "bootstrap" not in cell.metadata.get("tags", ())]
    linked: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # Within <details>, Markdown is read as such only between blank lines.
            source = _REMOTE_IMAGE.sub(r"\1", cell.source)
            source = source.replace("</summary>", "</summary>\n\n").replace("</details>", "\n\n</details>")
            cell.source = link_terms(source, terms, linked)
            continue
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        if pictures:
            alt = " ".join(picture.data["text/plain"] for picture in pictures)
            width = max(picture.metadata["image/png"].get("width", 700) for picture in pictures)
            cell.metadata["mystnb"] = {"image": {"alt": alt, "width": f"{width}px"}}
    return notebook


def link_terms(source: str, terms: dict[str, str], linked: set[str]) -> str:
    """Link the first use of each term in a chapter; `linked` has the terms that are linked already."""
    parts, end = [], 0
    for match in [*_NOT_PROSE.finditer(source), None]:
        prose = source[end : match.start() if match else None]
        parts.append(_link(prose, terms, linked))
        if match:
            parts.append(match[0])
            end = match.end()
    return "".join(parts)


def _link(prose: str, terms: dict[str, str], linked: set[str]) -> str:
    open_terms = [term for term in terms if terms[term] not in linked]
    if not open_terms:
        return prose
    pattern = re.compile(
        rf"(?<![\w-])({'|'.join(map(re.escape, sorted(open_terms, key=len, reverse=True)))})s?(?![\w-])"
    )

    def link(match: re.Match[str]) -> str:
        anchor = terms[match[1]]
        if anchor in linked:
            return match[0]
        linked.add(anchor)
        return f"[{match[0]}](glossary.md#{anchor})"

    return pattern.sub(link, prose)


# The glossary


def read_glossary() -> dict[str, str]:
    """Each term of the glossary, and the anchor of its line; a line may explain several terms."""
    terms = {}
    for names, _, _ in _glossary_lines():
        for term in names.split(", "):
            term, _, short = term.partition(" (")
            for name in filter(None, (term, short.rstrip(")"))):
                terms[name] = _anchor(names)
    return terms


def _glossary_lines() -> list[list[str]]:
    text = (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "term"]


def _anchor(names: str) -> str:
    return "term-" + re.sub(r"\W+", "-", names.lower()).strip("-")


def glossary_page(terms: dict[str, str]) -> str:
    """The glossary with an anchor for each line, and links to the chapters."""
    stems = {path.stem[:2]: path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    lines = ["# Glossary", ""]
    for names, meaning, chapters in sorted(_glossary_lines(), key=lambda line: line[0].lower()):
        links = ", ".join(f"[{number}]({stems[number]}.ipynb)" for number in chapters.split(", "))
        lines += [f"({_anchor(names)})=", f"**{names}**", f": {meaning} ({links})", ""]
    return "\n".join(lines)


# The way in


def course_map() -> str:
    """The picture of the course, with a link over each box."""
    sys.path.append(str(ROOT / "figures" / "drawing"))
    boxes: dict[str, tuple[float, float, float, float]] = importlib.import_module("course_map").BOXES
    links = []
    for stem, (left, bottom, width, height) in boxes.items():
        place = {
            "left": left / CARD[0], "top": 1 - (bottom + height) / CARD[1], "width": width / CARD[0],
            "height": height / CARD[1],
        }  # fmt: skip
        style = "; ".join(f"{side}: {share:.2%}" for side, share in place.items())
        links.append(f'<a href="{stem}.html" aria-label="{html.escape(title_of(stem))}" style="{style}"></a>')
    image = '<img src="_static/course_map.png" width="1600" height="1200" alt="The course as a path of boxes">'
    return "\n".join(["```{raw} html", '<div class="course-map">', image, *links, "</div>", "```"])


def title_of(stem: str) -> str:
    """A chapter's title, as in its first cell."""
    first = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells[0].source
    return first.splitlines()[0].removeprefix("# ")


# The reference


def write_reference(folder: Path) -> None:
    """A page for each room of the package, from its docstrings; `reference` lists them."""
    import tinyllm

    rooms: dict[str, list[str]] = {"tinyllm": []}
    for module in pkgutil.walk_packages(tinyllm.__path__, "tinyllm."):
        if module.name.startswith(("tinyllm.course.exercises", "tinyllm.__main__")):
            continue  # the answers are for those who have tried
        parts = module.name.split(".")
        if module.ispkg:
            rooms.setdefault(module.name, [])
        else:
            rooms.setdefault(".".join(parts[:-1]), []).append(module.name)
    (folder / "reference").mkdir()
    for room, modules in rooms.items():
        page = [f"# `{room}`", "", *_automodule(room, members=False)]
        for module in modules:
            page += [f"## `{module.rpartition('.')[2]}`", "", *_automodule(module, members=True)]
        (folder / "reference" / f"{room}.md").write_text("\n".join(page), encoding="utf-8")
    lines = ["# Reference", "", "What the package offers, room by room: from its docstrings and types.", ""]
    lines += ["```{toctree}", ":maxdepth: 2", "", *(f"reference/{room}" for room in rooms), "```"]
    (folder / "reference.md").write_text("\n".join(lines), encoding="utf-8")


def _automodule(name: str, members: bool) -> list[str]:
    option = "   :members:" if members else "   :no-members:"
    return ["```{eval-rst}", f".. automodule:: {name}", option, "```", ""]
