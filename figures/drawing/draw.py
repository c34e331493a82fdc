"""Draws every picture of the course.

    python figures/drawing/draw.py                                  draw all of them again
    python figures/drawing/draw.py quickstart models/quickstart     first read the numbers of a finished quickstart run
    python figures/drawing/draw.py laptop models/laptop             first read the numbers of a finished laptop run

What the others read is saved in quickstart.json and laptop.json, so the first needs neither a run nor a network. The
same numbers give the same bytes. The alt texts are in alt.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import laptop
import matplotlib
import quickstart
from attention_pictures import attention_row, heads
from course_map import course_map
from finetuning_pictures import lora, loss_mask
from gradient_pictures import backprop_graph
from matplotlib.figure import Figure
from model_pictures import residual_stream, tied_head
from reference_model import architecture
from sampling_pictures import kv_cache, sampling_cuts
from style import STYLE, save
from text_pictures import merge_tree, shifted_blocks
from training_pictures import optimizer_step, precision, schedule

from tinyllm.presets import get_preset

FOLDER = Path(__file__).parent.parent
RUNS = {"quickstart": quickstart, "laptop": laptop}  # the modules that read and draw a measured run


def pictures() -> dict[str, Figure]:
    """Every picture by its file name, in the order in which the course shows them."""
    quick, hour = map(numbers, RUNS)
    full = get_preset("wikitext103")
    return {
        "writing.png": quickstart.writing(quick),
        "course_map.png": course_map(),
        "quickstart.png": quickstart.loss_curve(quick),
        "kinds.png": quickstart.kinds(quick),
        "laptop.png": laptop.loss_curve(hour),
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
        "loss_mask.png": loss_mask(),
        "lora.png": lora(),
    }


def numbers(run: str) -> dict[str, Any]:
    """What was read of a measured run."""
    read: dict[str, Any] = json.loads((FOLDER / f"{run}.json").read_text())
    return read


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
    for name in RUNS:
        commands.add_parser(name).add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command:
        read = RUNS[arguments.command].read_run(arguments.folder)
        (FOLDER / f"{arguments.command}.json").write_text(json.dumps(read) + "\n")
    for path in draw_all(FOLDER):
        print(path)


if __name__ == "__main__":
    main()
