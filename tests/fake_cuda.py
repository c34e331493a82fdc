"""What fake CUDA tensors need in order to run where there is no CUDA."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class PlainIndexing(TorchFunctionMode):
    """x[...] as select, slice and the like: indexing CUDA tensors, even fake ones, needs what a CPU build lacks."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function not in (Tensor.__getitem__, Tensor.__setitem__):
            return function(*arguments, **(options or {}))
        part, indices = arguments[0], arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
        dim = 0
        for index in indices:
            if index is None:
                part = part.unsqueeze(dim)
            elif isinstance(index, int):
                part = torch.select(part, dim, index)
            elif isinstance(index, Tensor):
                part = torch.index_select(part, dim, index)
                dim += 1
            else:
                part = torch.ops.aten.slice(part, dim, index.start, index.stop)
                dim += 1
        if function is Tensor.__setitem__:  # writing is not possible either, so only check that it would be
            assert (part.shape, part.dtype, part.device) == (
                arguments[2].shape,
                arguments[2].dtype,
                arguments[2].device,
            )
            return None
        return part
