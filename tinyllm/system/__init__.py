"""The machine under the course: files, caches, devices, number formats, processes and the network.

- `files`: written so that a reader sees the old content or the new one, never half of it
- `paths`: as people write them and as they can be printed, whatever bytes are in a name
- `cache`: the folder for what is kept between calls (TINYLLM_HOME)
- `device`: CUDA, MPS or the CPU, and whether to compile
- `precision`: the number format of matrix products
- `bars`: progress bars, in a terminal and in a notebook
- `distributed`: the processes that `torchrun` starts
- `hub`: whether a server answers, asked with a time-out
- `validation`: checks of settings, and near names for error messages

Nothing here knows what a token, a model or a training step is, and nothing here imports another part of the package.
Checkpoints, which use `files`, are in `training`; downloads are in `text`.
"""
