"""What all widgets have: controls with labels, and a picture that is an output of its own."""

import base64
import importlib.util
import os
import re
from pathlib import Path

import ipywidgets
import nbformat
import pytest
from widgets_seen import every, words

from tinyllm.course.checking.this_python import client_of
from tinyllm.course.widgets import live
from tinyllm.plots import bars

ROOT = Path(__file__).parent.parent.parent.parent
CELL = """
import ipywidgets
from tinyllm.course.widgets.live import Live
from tinyllm.plots import bars
Live(bars({"one": 1}, "One bar", "bars"), ipywidgets.Button(description="Press"))
"""


@pytest.mark.parametrize("name", ["tokens", "attention", "sampling", "training"])
def test_the_controls_are_one_output_and_the_picture_is_another(widgets, name, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", lambda one, raw=False: shown.append(one if raw else one._repr_mimebundle_()))
    widgets[name]._ipython_display_()
    view, (data, metadata) = shown
    assert list(view) == ["application/vnd.jupyter.widget-view+json"]
    assert view["application/vnd.jupyter.widget-view+json"]["model_id"] == widgets[name].box.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == metadata["image/png"]["alt"] == words(widgets[name])
    assert len(data["text/plain"]) > 30


def test_in_the_committed_form_the_picture_alone_is_left(tmp_path):
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    client_of(notebook, tmp_path).execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    (cell,) = notebook.cells
    assert [sorted(output.data) for output in cell.outputs] == [
        ["application/vnd.jupyter.widget-view+json"],
        ["image/png", "text/plain"],
    ]
    (committed,) = build.normalise(notebook, "name.ipynb", "").cells
    (output,) = committed.outputs
    assert output.output_type == "display_data"
    assert output.data == cell.outputs[1].data
    assert output.metadata == cell.outputs[1].metadata


@pytest.mark.parametrize("name", ["tokens", "attention", "sampling", "training"])
def test_every_control_has_a_label(widgets, name):
    controls = [one for one in every(widgets[name].box) if isinstance(one, ipywidgets.ValueWidget | ipywidgets.Button)]
    controls = [one for one in controls if not isinstance(one, ipywidgets.HTML)]
    assert len(controls) >= 2
    assert all(one.description for one in controls)


def test_only_core_controls_are_used(widgets):
    for widget in widgets.values():
        for one in every(widget.box):
            assert type(one).__module__.startswith("ipywidgets.")
            assert not isinstance(one, ipywidgets.Output)


def test_a_picture_in_a_widget_is_the_picture_of_a_cell():
    one = bars({"one": 1}, 'A "bar"', "bars")
    data, metadata = one._repr_mimebundle_()
    written = live.as_html(one)
    assert f'src="data:image/png;base64,{data["image/png"]}"' in written
    assert written.count('"') == 2 * (2 + len(metadata["image/png"]))
    assert re.search('alt="[^"]*A &quot;bar&quot;', written)


def test_what_a_learner_types_is_text_and_no_markup():
    assert live.status("<b>") == '<p role="status" style="line-height: 1.4; ">&lt;b&gt;</p>'
    assert live.alert(ValueError("<b>")) == '<p role="alert">&lt;b&gt;</p>'
