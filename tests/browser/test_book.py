"""The book as a reader sees it: in a browser, without a network, in light and dark, and on a phone."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from debian_chromium import chromium
from playwright.sync_api import Page, expect

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
REPOSITORY = "https://example.org/someone/somewhere"
PHONE = {"width": 390, "height": 844}

pytestmark = pytest.mark.timeout(1800)  # the book takes a minute to make, and ten where eight others compute


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site that the one command has made, of a copy whose repository has an address."""
    chromium()
    copy = tmp_path_factory.mktemp("book")
    for part in ("notebooks", "figures", "tinyllm"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "my", "models"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    build = [sys.executable, copy / "notebooks" / "build.py"]
    subprocess.run([*build, "--repository", REPOSITORY], check=True)
    subprocess.run([*build, "--book", copy / "site"], check=True)
    return copy / "site"


@pytest.fixture
def page(browser, request):
    """A page that notes what goes wrong, and whatever it asks of another machine."""
    context = browser.new_context(color_scheme=getattr(request, "param", "light"))
    page = context.new_page()
    page.faults = []
    page.on(
        "request", lambda call: page.faults.append(call.url) if not call.url.startswith(("file:", "data:")) else None
    )
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    yield page
    assert page.faults == []
    context.close()


def open_page(page: Page, path: Path) -> None:
    page.goto(path.as_uri())
    if page.locator(".math").count():
        expect(page.locator("mjx-container").first).to_be_attached(timeout=20_000)
        page.evaluate("MathJax.startup.promise")


class Addresses(HTMLParser):
    """The addresses that a page names, its anchors, and images without alt text."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.anchors, self.silent_images = [], set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        self.silent_images += tag == "img" and not attributes.get("alt")


def test_every_link_and_image_resolves_and_every_picture_has_alt_text(site):
    pages = {path: Addresses(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert {f"{chapter}.html" for chapter in CHAPTERS} <= {path.name for path in pages}
    broken = []
    for path, page in pages.items():
        assert page.silent_images == 0, path
        for link in page.links:
            address, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", address):
                continue
            target = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.name}: {link}")
    assert broken == []


# The page's frame hides what is too wide for it, or scrolls all of it, and is itself no wider for that.
WIDEST = """() => {
    let widest = 0;
    for (let part = document.querySelector("article"); part; part = part.parentElement)
        widest = Math.max(widest, part.scrollWidth);
    return widest;
}"""
# What ends to the right of the page, and neither scrolls nor lies in something that does: it cannot be read.
OUT_OF_SIGHT = """() => {
    const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
    const inside = element => element.tagName != "ARTICLE" && (scrolls(element) || inside(element.parentElement));
    return [...document.querySelectorAll("article *")]
        .filter(element => element.getBoundingClientRect().right > innerWidth + 1 && !inside(element.parentElement))
        .map(element => element.outerHTML.slice(0, 120));
}"""


def test_every_page_is_drawn_without_a_network_and_fits_a_phone(site, page):
    """What is wider, such as a line of code or of a table that was printed, scrolls in its own box."""
    page.set_viewport_size(PHONE)
    paths = sorted(site.rglob("*.html"))
    assert len(paths) > len(CHAPTERS) + 10
    for path in paths:
        open_page(page, path)
        wide = page.evaluate(WIDEST)
        assert wide <= PHONE["width"], f"{path.name} is {wide} pixels wide"
        assert page.evaluate(OUT_OF_SIGHT) == [], path.name
        assert page.locator("mjx-merror").count() == 0, path.name
        assert page.locator(".math").count() == page.locator(".math mjx-container").count(), path.name


def test_a_chapter_opens_in_colab_by_a_link_of_words(site):
    """The notebooks have Colab's badge there, a picture that would be fetched from another machine."""
    for chapter in CHAPTERS:
        text = (site / f"{chapter}.html").read_text(encoding="utf-8")
        address = f"https://colab.research.google.com/github/someone/somewhere/blob/main/notebooks/{chapter}.ipynb"
        assert re.search(rf'<a [^>]*href="{re.escape(address)}"[^>]*>Open in Colab</a>', text), chapter
        assert not re.search(r'<img [^>]*src="https?:', text), chapter


@pytest.mark.parametrize("page", ["light", "dark"], indirect=True)
@pytest.mark.parametrize("name", ["index", "03_attention", "glossary", "reference/tinyllm.model", "search", "genindex"])
def test_contrast_and_labels_pass_axe(site, page, name):
    open_page(page, site / f"{name}.html")
    if name == "search":  # with something found
        page.goto(f"{(site / 'search.html').as_uri()}?q=causal+mask")
        expect(page.locator("#search-results li a").first).to_be_visible(timeout=20_000)
    assert page.faults == []
    result = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    page.faults.clear()  # axe reads the style sheets, which a browser refuses for files
    found = [(fault["id"], node["html"][:120], node.get("failureSummary", "")[:200])
             for fault in result.response["violations"] for node in fault["nodes"]]  # fmt: skip
    assert found == []


def test_the_search_finds_the_causal_mask(site, page):
    open_page(page, site / "search.html")
    page.goto(f"{(site / 'search.html').as_uri()}?q=causal+mask")
    expect(page.locator("#search-results li a", has_text="03 Attention").first).to_be_visible(timeout=20_000)


def test_the_picture_of_the_course_leads_to_each_chapter(site, page):
    open_page(page, site / "index.html")
    links = page.locator(".course-map a")
    assert sorted(Path(link.get_attribute("href")).stem for link in links.all()) == CHAPTERS
    links.and_(page.get_by_role("link", name="03 Attention")).click()
    expect(page).to_have_title(re.compile("03 Attention"))


def test_the_first_use_of_a_term_leads_to_the_glossary(site, page):
    open_page(page, site / "03_attention.html")
    page.get_by_role("link", name="queries", exact=True).or_(
        page.locator('a[href^="glossary.html#term-"]')
    ).first.click()
    expect(page).to_have_title(re.compile("Glossary"))


def test_a_chapter_shows_the_committed_outputs_and_not_the_cell_that_installs(site):
    text = (site / "03_attention.html").read_text(encoding="utf-8")
    assert "proven: outputs, gradients and causality" in text
    assert "TINYLLM_SOURCE" not in text


def test_the_reference_has_the_shapes(site):
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "tinyllm.model.html").read_text(encoding="utf-8"))
    assert re.search(r"Float\s*\[\s*Tensor,\s*.{1,6}B T C", text)


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "build.py", "--book", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "has other files in it" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"
