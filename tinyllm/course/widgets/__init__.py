"""Controls above pictures, for notebooks: move a slider, and see how your own text and your own model respond.

Three explorers draw at each change; the dashboard draws while a model trains. Only ipywidgets' core controls are used,
so that they also work in Colab. Where no widget can be shown (GitHub, a printed page, a notebook that is opened again),
the first picture is shown instead.
"""

from tinyllm.course.widgets.dashboard import TrainingDashboard
from tinyllm.course.widgets.explorers import AttentionViewer, SamplingPlayground, TokenExplorer

__all__ = ["AttentionViewer", "SamplingPlayground", "TokenExplorer", "TrainingDashboard"]
