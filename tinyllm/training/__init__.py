"""Training a model: the loop, what a step is made of, and what a run records.

`loop` is the centre. Each step takes its `micro_batches` and the rate of the `schedule`, and makes one `gradient_step`
with one of the `optimizers` (AdamW, or `muon` beside it). `monitoring` scores the held-out text. `history` and
`checkpoint` record the run in its `run_folder`; `adapter` writes what LoRA learned alone; `resume` returns to a
checkpoint. `interruption` turns Ctrl-C into an orderly end. `reinforce`
learns from rewards and preferences instead of a text, without the loop.

Not here: the public `train` and `load_run` (`tinyllm.run`), the settings (`tinyllm.config`), the blocks that make up a
batch (`tinyllm.text`), devices, precision and several processes (`tinyllm.system`), evaluation (`tinyllm.evaluation`).
"""
