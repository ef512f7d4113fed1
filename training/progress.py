"""How far something is that takes long: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import track

# How long a person is left without a word where there is no bar.
_SILENCE_S = 2.0


def shown(console: Console, what: str) -> Callable[[Iterable[int], int], Iterable[int]]:
    """A bar on a terminal; elsewhere a line for every tenth, where it takes long enough that somebody waits."""
    if console.is_terminal:
        return lambda items, total: track(items, description=what, total=total, console=console, transient=True)

    def lines(items: Iterable[int], total: int) -> Iterator[int]:
        said = time.monotonic()
        for number, item in enumerate(items, start=1):
            yield item
            if number * 10 // total > (number - 1) * 10 // total and time.monotonic() - said > _SILENCE_S:
                said = time.monotonic()
                console.print(f"{what}: {number} of {total}")

    return lines
