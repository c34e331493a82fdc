"""Decoding: the logits after each new token, from a KV cache; on CUDA replayed from a recorded graph.

A step for one token is a hundred small kernels. Launching them one by one takes much longer than running them, so on
CUDA one step is recorded as a graph, which launches all of them at once. A replay computes the same as the plain step.

Shapes: B batch, T new tokens, V vocab_size.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tinyllm.model.gpt import GPT
from tinyllm.model.kv_cache import KVCache, OneTokenCache
from tinyllm.system.precision import matrix_products

Step = Callable[[Int[Tensor, "B 1"]], Float[Tensor, "B V"]]


class Decoder:
    """Reads tokens in order and gives the logits after the last of them. The model must be in evaluation mode."""

    def __init__(self, model: GPT, batch_size: int):
        self.model = model
        self.cache = KVCache(model.config, batch_size, model.device, model.token_embedding.weight.dtype)

    @property
    def room(self) -> int:
        """How many more tokens fit into the context."""
        return self.model.config.context_length - self.cache.length

    def forget(self) -> None:
        """Begin again with an empty context."""
        self.cache.length = 0

    @torch.no_grad()
    def read(self, new: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """The logits after the new tokens. They may be overwritten by the next call."""
        with matrix_products(self.model.device):
            return self._read(new)

    def _read(self, new: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        logits: Tensor = self.model(new, cache=self.cache)
        return logits[:, -1]


class FixedShapeDecoder(Decoder):
    """Single tokens are read by a step whose shapes never change, which `record` may turn into something faster."""

    def __init__(self, model: GPT, batch_size: int, record: Callable[[Step, Int[Tensor, "B 1"]], Step]):
        super().__init__(model, batch_size)
        self.one_token = OneTokenCache(self.cache)
        self.record = record
        self.step: Step | None = None

    def _read(self, new: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        if new.shape[1] > 1 or self.cache.length == 0:
            return super()._read(new)
        self.one_token.position.fill_(self.cache.length)
        if self.step is None:
            self.step = self.record(self._step, new)
        logits = self.step(new)
        self.cache.advance(1)
        return logits

    def _step(self, new: Int[Tensor, "B 1"]) -> Float[Tensor, "B V"]:
        logits: Tensor = self.model(new, cache=self.one_token)
        return logits[:, -1]


def record_cuda_graph(step: Step, example: Int[Tensor, "B 1"]) -> Step:
    """Record what a step launches; the result replays it on other ids of the same shape."""
    ids = example.clone()
    with torch.cuda.device(example.device):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # kernels that are loaded or chosen at their first launch cannot be recorded
            for _ in range(3):
                step(ids)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread may be training meanwhile
            logits = step(ids)

    def replay(new: Int[Tensor, "B 1"]) -> Float[Tensor, "B V"]:
        ids.copy_(new)
        with torch.cuda.device(ids.device):
            graph.replay()
        return logits

    return replay


def make_decoder(model: GPT, batch_size: int) -> Decoder:
    """The fastest one for the model's device."""
    if model.device.type == "cuda":
        return FixedShapeDecoder(model, batch_size, record_cuda_graph)
    return Decoder(model, batch_size)
