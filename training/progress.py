"""Progress of long work: a bar on a terminal, an occasional line elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import track

# Least seconds between two lines.
_SILENCE_S = 2.0


def shown(console: Console, what: str) -> Callable[[Iterable[int], int], Iterable[int]]:
    """A tracker that shows a bar on a terminal; elsewhere a line for each tenth, at least 2 s apart."""
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
