"""Draws every picture of the course.

    python figures/drawing/draw.py                                  draw all of them again
    python figures/drawing/draw.py quickstart models/quickstart     first read the numbers of a finished quickstart run

What the second command reads is saved in quickstart.json, so the first needs neither a run nor a network. The same
numbers give the same bytes. The alt texts are in alt.json.
"""

import argparse
import json
from pathlib import Path

import matplotlib
from attention_pictures import attention_row, heads
from course_map import course_map
from gradient_pictures import backprop_graph
from matplotlib.figure import Figure
from model_pictures import residual_stream, tied_head
from quickstart import kinds, loss_curve, read_run, writing
from reference_model import architecture
from sampling_pictures import kv_cache, sampling_cuts
from style import STYLE, save
from text_pictures import merge_tree, shifted_blocks
from training_pictures import optimizer_step, precision, schedule

from tinyllm.presets import get_preset

FOLDER = Path(__file__).parent.parent
NUMBERS = FOLDER / "quickstart.json"


def pictures() -> dict[str, Figure]:
    """Every picture by its file name, in the order in which the course shows them."""
    numbers = json.loads(NUMBERS.read_text())
    full = get_preset("wikitext103")
    return {
        "writing.png": writing(numbers),
        "course_map.png": course_map(),
        "quickstart.png": loss_curve(numbers),
        "kinds.png": kinds(numbers),
        "merge_tree.png": merge_tree(),
        "shifted_blocks.png": shifted_blocks(),
        "backprop_graph.png": backprop_graph(),
        "attention_row.png": attention_row(),
        "heads.png": heads(),
        "residual_stream.png": residual_stream(),
        "architecture.png": architecture(full.model),
        "tied_head.png": tied_head(),
        "optimizer_step.png": optimizer_step(full.training),
        "schedule.png": schedule(full.training),
        "sampling_cuts.png": sampling_cuts(),
        "kv_cache.png": kv_cache(),
        "precision.png": precision(),
    }


def draw_all(folder: Path) -> list[Path]:
    """Draw every picture into a folder; returns their paths."""
    paths = []
    with matplotlib.rc_context(STYLE):
        for name, figure in pictures().items():
            save(figure, folder / name)
            paths.append(folder / name)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("quickstart").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "quickstart":
        NUMBERS.write_text(json.dumps(read_run(arguments.folder)) + "\n")
    for path in draw_all(FOLDER):
        print(path)


if __name__ == "__main__":
    main()
