"""The quickstart's model from other seeds and after other numbers of steps; each is trained once for all claims."""

from functools import cache

import tinyllm
from tinyllm.system.cache import home

STEPS = 400  # of chapters 00, 07 and 10


@cache
def trained(steps: int, seed: int) -> tinyllm.Run:
    """The run of chapter 00 from another seed, measured at its end only, which changes nothing."""
    folder = str(home() / f"claims-{steps}-{seed}")
    run = tinyllm.train(
        "quickstart", max_iterations=steps, evaluation_interval=steps, seed=seed, run_folder=folder, progress=False
    )
    run.model.cpu().eval()
    return run
