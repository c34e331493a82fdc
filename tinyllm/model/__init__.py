"""The decoder-only transformer, and nothing else.

In this room: `gpt` puts the model together from `attention` (with its `rotary` positions and `kv_cache`), `feedforward`
and `norm`; `loss` scores its predictions; `weights` reads and writes it as one file; `evaluation_mode` switches dropout
off for a while. `linear` and `dropout_attention` make it fast on a CPU. `lora` corrects a trained model by thin
matrices.

Not in this room: tokens and text (`tinyllm.text`), how weights are learned and how a run is checkpointed
(`tinyllm.training`), and what uses a finished model (`tinyllm.generation`, `tinyllm.evaluation`,
`tinyllm.huggingface`).
"""
