"""What several processes that train the same network must tell each other. One process alone has nothing to tell.

Every process holds the whole network and the same state; of each step's images it takes its share, and gradients are added
up. Knows torch's collectives and nothing of who started the processes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Workers:
    """One process among `size`.

    Attributes:
        rank: 0 to size - 1; the first one writes what is written.
        size: how many there are; above 1, torch's process group must have been set up.
    """

    rank: int = 0
    size: int = 1

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by the sum over all processes; a process without images has added nothing."""
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
        """Gives every process the first one's parameters and buffers: BatchNorm's statistics differ, each saw its own images."""
        if self.size > 1:
            _exchange([*module.parameters(), *module.buffers()], lambda flat: distributed.broadcast(flat, 0))

    def share(self, count: int) -> slice:
        """Which of `count` rows this process works on."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows, from the share of them that each process has."""
        if self.size == 1:
            return rows
        whole = torch.zeros((count, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
        whole[self.share(count)] = rows
        return self.add(whole)


ALONE = Workers()
"""One process that trains by itself."""


def _exchange(tensors: list[torch.Tensor], collective: Callable[[torch.Tensor], object]) -> None:
    """Runs a collective over all tensors at once, in place; whatever their layout in memory is."""
    with torch.no_grad():
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in the same order everywhere
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in chosen])
            collective(flat)
            for tensor, part in zip(chosen, torch.split(flat, [tensor.numel() for tensor in chosen]), strict=True):
                tensor.copy_(part.view(tensor.shape))
