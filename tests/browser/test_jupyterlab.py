"""The course as a learner sees it: JupyterLab, a browser, sliders, a wrong answer and a right one."""

import io
import json
import os
import re
import urllib.request
from pathlib import Path

import nbformat
import pytest
from contrast import contrast
from PIL import Image
from playwright.sync_api import Locator, Page, expect

SECOND = 1000  # milliseconds


def run_all(page: Page) -> None:
    """Run all cells and wait until the last one has run; no output may be an error."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    error = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    waiting = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[\*\]"))
    expect(waiting.first).to_be_visible(timeout=30 * SECOND)
    expect(waiting).to_have_count(0, timeout=180 * SECOND)
    assert error.count() == 0, error.first.inner_text()


def widget(page: Page, control: str) -> Locator:
    """The output that holds the control with this label."""
    output = page.locator(".jp-OutputArea-output", has=page.get_by_text(control, exact=True)).last
    expect(output).to_be_visible(timeout=30 * SECOND)
    output.scroll_into_view_if_needed()
    return output


def picture(output: Locator) -> str:
    return output.locator("img").first.get_attribute("src")


def box(part: Locator) -> dict[str, float]:
    """Where a part is, once it is drawn: a picture that is being exchanged is nowhere for a moment."""
    for _ in range(200):
        if found := part.bounding_box():
            return found
        part.page.wait_for_timeout(50)
    raise AssertionError(f"{part} is not drawn")


def move(output: Locator, label: str, *keys: str) -> None:
    """Move a slider by the keyboard; each time that its value changes, the picture must change."""
    slider = output.locator(".widget-slider", has_text=label).get_by_role("slider")
    slider.focus()
    for key in keys:
        before, value = picture(output), slider.get_attribute("aria-valuenow")
        slider.press(key)
        if slider.get_attribute("aria-valuenow") != value:
            expect(output.locator("img").first).not_to_have_attribute("src", before, timeout=20 * SECOND)


def keep(output: Locator, name: str) -> None:
    """Where a folder is named for it, keep a small screenshot: README's are made so."""
    if folder := os.environ.get("TINYLLM_SCREENSHOTS"):
        shot = Image.open(io.BytesIO(output.screenshot()))
        shot.convert("RGB").quantize(64).save(Path(folder) / f"{name}.png", optimize=True)


def answer(page: Page, exercise: str, code: str) -> Locator:
    """Write an answer over the stub of an exercise, run its cell, and return the cell."""
    cell = page.locator(".jp-CodeCell", has_text=f'check("{exercise}"')
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    name = exercise.partition(".")[2]
    page.keyboard.insert_text(f'{code}\n\n\n{name} = check("{exercise}", {name})')
    page.keyboard.press("Control+Enter")
    return cell


def test_a_training_is_shown_live_and_the_stop_button_saves(open_notebook):
    page = open_notebook("trained")
    run_all(page)
    output = widget(page, "Start")
    before = picture(output)
    output.get_by_role("button", name="Start", exact=True).click()
    status = output.get_by_role("status")
    expect(status).to_have_text(re.compile(r"iteration \d{3} of .* tokens/s, about .* left"), timeout=180 * SECOND)
    assert picture(output) != before
    keep(output, "training")
    output.get_by_role("button", name="Stop and save").click()
    expect(status).to_have_text(re.compile("stopped and saved"), timeout=30 * SECOND)
    expect(output.get_by_role("button", name="Start", exact=True)).to_be_enabled()


def test_01_cuts_my_sentence_and_judges_my_answers(open_notebook):
    page = open_notebook("01_tokenization")
    run_all(page)
    output = widget(page, "Merges")
    keep(output, "tokens")
    move(output, "Merges", "Home")
    assert "byte pairs, 0 merges: [T] [h] [e]" in output.get_by_role("img").get_attribute("alt")
    before = picture(output)
    sentence = output.get_by_role("textbox", name="Your sentence")
    sentence.fill("My own words.")
    sentence.press("Enter")
    expect(output.locator("img")).not_to_have_attribute("src", before, timeout=20 * SECOND)
    assert "[M] [y]" in output.get_by_role("img").get_attribute("alt")

    wrong = "def merge(ids, pair, new_id):\n    return ids"
    right = (
        "def merge(ids, pair, new_id):\n"
        "    out = []\n"
        "    for one in ids:\n"
        "        if out and fresh and (out[-1], one) == tuple(pair): out[-1], fresh = new_id, False\n"
        "        else: out, fresh = [*out, one], True\n"
        "    return out"
    )
    for code, verdict in ((wrong, "not right yet"), (right, "correct")):
        cell = answer(page, "tokenization.merge", code)
        expect(cell.locator(".jp-OutputArea-output").last).to_contain_text(verdict, timeout=30 * SECOND)


def test_my_models_attention_is_shown_and_it_writes(open_notebook):
    page = open_notebook("trained")
    run_all(page)
    output = widget(page, "Layer")
    keep(output, "attention")
    move(output, "Layer", "End", "Home")
    move(output, "Head", "Home", "End")
    assert "Layer 1, head 6" in output.get_by_role("img").get_attribute("alt")

    output = widget(page, "Temperature")
    move(output, "Temperature", "ArrowLeft", "ArrowLeft")
    move(output, "Top-p", "Home")
    assert " cut" in output.get_by_role("img").get_attribute("alt")
    output.get_by_role("button", name="Sample").click()
    written = output.get_by_role("status").filter(has_text="Agatha")
    expect(written).to_be_visible(timeout=30 * SECOND)
    assert box(written)["y"] < box(output.locator("img"))["y"]
    keep(output, "sampling")


def fits(page: Page) -> None:
    """The page, the notebook in it and what its widgets hold are no wider than there is room."""
    for kind in ("html", ".jp-NotebookPanel-notebook", ".jp-WindowedPanel-outer", ".jp-OutputArea-output .widget-vbox"):
        for part in page.locator(kind).all():
            wide = part.evaluate("part => part.scrollWidth - part.clientWidth")
            assert wide <= 0, f"{kind} is {wide} pixels too wide"


def saved(lab: str, name: str) -> nbformat.NotebookNode:
    """A notebook as it is on the server's disk."""
    with urllib.request.urlopen(f"{lab}/api/contents/{name}.ipynb") as answer:
        return nbformat.from_dict(json.load(answer)["content"])


def colours(part: Locator) -> list[str]:
    """The colour of a text and of what is behind it, like #1A2B3C."""
    found = part.evaluate(r"""part => {
        let behind = part
        while (/^rgba.*, 0\)$/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement
        return [getComputedStyle(part).color, getComputedStyle(behind).backgroundColor]
    }""")
    return ["#" + "".join(f"{int(number):02X}" for number in re.findall(r"\d+", colour)) for colour in found]


def cell_with(page: Page, words: str) -> Locator:
    return page.locator(".jp-CodeCell", has_text=words)


def test_a_notebook_that_is_opened_again_shows_a_widgets_picture(open_notebook, lab):
    page = open_notebook("small")
    run_all(page)
    output = widget(page, "Merges")
    cell = cell_with(page, "TokenExplorer(")
    expect(cell.locator("img:visible")).to_have_count(1)  # the controls', and not the saved one below it
    keep(cell, "live")
    sentence = output.get_by_role("textbox", name="Your sentence")
    assert sentence.evaluate("field => field.scrollWidth <= field.clientWidth"), "the field cuts its own default"

    page.keyboard.press("Control+s")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60 * SECOND)
    page.reload()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60 * SECOND)
    picture = cell.locator(".jp-RenderedImage img")
    expect(picture).to_be_visible(timeout=30 * SECOND)
    assert box(picture)["height"] > 100
    expect(page.get_by_text("Merges", exact=True)).to_have_count(0)
    keep(cell, "opened_again")
    outputs = saved(lab, "small").cells[0].outputs
    assert [[*output.data] for output in outputs] == [
        ["application/vnd.jupyter.widget-view+json"],
        ["image/png", "text/plain"],
    ]


def test_a_chapter_fits_a_narrow_window_in_the_dark_theme(open_notebook):
    page = open_notebook("07_sampling", "dark", width=800)
    assert page.locator(".jp-RenderedImage img").count() > 5
    fits(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_verdicts_can_be_read_in_both_themes(open_notebook, scheme):
    page = open_notebook("small", scheme, width=800)
    run_all(page)
    assert page.locator("body").get_attribute("data-jp-theme-light") == str(scheme == "light").lower()
    fits(page)
    expect(cell_with(page, "bars(").locator("img:visible")).to_have_count(1)
    cell = cell_with(page, "causal_mask")
    keep(cell, f"verdicts_{scheme}")
    keep(page.locator(".jp-NotebookPanel-notebook"), f"small_{scheme}")
    right, wrong = cell.locator("pre:has(span)").all()
    expect(right).to_have_text(re.compile("^✓ attention.causal_mask: correct"))
    expect(wrong).to_have_text(
        re.compile("^✗ attention.causal_mask: not right yet.*course's own function.$", re.DOTALL)
    )
    for verdict in (right, wrong):
        assert contrast(*colours(verdict)) >= 4.5
        assert contrast(*colours(verdict.locator("span"))) >= 4.5
