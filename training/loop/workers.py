"""Communication between processes that train the same network. A single process needs none.

Every process holds the whole network and the same state. It computes its share of each step's images, and the gradients
are added up. Uses torch's collectives; does not depend on who started the processes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Workers:
    """One process among `size`.

    Attributes:
        rank: 0 to size - 1; only rank 0 writes files.
        size: number of processes; above 1, torch's process group must have been set up.
    """

    rank: int = 0
    size: int = 1

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by the sum over all processes; a process without images adds 0."""
        if self.size == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        _exchange(gradients, distributed.all_reduce)

    def add(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def align(self, module: nn.Module) -> None:
        """Copies the first process's parameters and buffers to all. BatchNorm statistics differ, because images do."""
        if self.size > 1:
            _exchange([*module.parameters(), *module.buffers()], lambda flat: distributed.broadcast(flat, 0))

    def share(self, count: int) -> slice:
        """The part of `count` rows that this process computes."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows, of which each process has its share."""
        if self.size == 1:
            return rows
        whole = torch.zeros((count, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
        whole[self.share(count)] = rows
        return self.add(whole)


ALONE = Workers()
"""One process that trains by itself."""


def _exchange(tensors: list[torch.Tensor], collective: Callable[[torch.Tensor], object]) -> None:
    """Runs a collective over all tensors at once, in place. They may have any memory layout."""
    with torch.no_grad():
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in the same order everywhere
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in chosen])
            collective(flat)
            for tensor, part in zip(chosen, torch.split(flat, [tensor.numel() for tensor in chosen]), strict=True):
                tensor.copy_(part.view(tensor.shape))
