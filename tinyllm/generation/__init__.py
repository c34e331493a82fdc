"""How a trained model writes: drawing one token (sampling), reading it fast (decoding), and whole texts (writing).

`sampling` is what temperature, top-k and top-p do to the logits. `decoding` feeds tokens to the model through its KV
cache, on CUDA as one recorded step. `writing` puts both together: `generate`, `generate_text`, `generate_texts`,
`stream_text`. `answering` does so for a model that has learned from dialogues.
"""
