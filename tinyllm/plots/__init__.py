"""The pictures that notebooks show: charts, heat maps and tokens, with matplotlib's object interface.

No global state and no window: each function returns a `Picture`, which carries its own alt text. The course's fixed
drawings are `Drawing`s; the scripts that draw those are no part of the package (figures/drawing in the repository).
"""

from tinyllm.plots.charts import bars, curves, loglog, places
from tinyllm.plots.grids import heatmap
from tinyllm.plots.loss_charts import ladder, loss_curve
from tinyllm.plots.picture import BLUE, GREEN, GREY, ORANGE, Drawing, Picture, figures_folder
from tinyllm.plots.token_pictures import next_token_bars, token_rows, visible

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "Drawing",
    "Picture",
    "bars",
    "curves",
    "figures_folder",
    "heatmap",
    "ladder",
    "loglog",
    "loss_curve",
    "next_token_bars",
    "places",
    "token_rows",
    "visible",
]
