"""Progress bars with an ETA, on stderr, and only where somebody is looking.

Notebooks and pipes get nothing: nbgrader scores a cell that writes to stderr with zero.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

_console = Console(stderr=True)
# One console for all bars: two that show at once, a build and its calibration, share the screen.


@contextmanager
def progress_bar(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Show a bar while the block runs; the block calls the yielded function with each step's size.

    `total` None shows a moving bar with the elapsed time, for work whose length is unknown.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(complete_style="#76B900", finished_style="#76B900"),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=_console,
        # is_terminal alone would also be true in Jupyter, whose cells must stay clean.
        disable=not _console.is_terminal or _console.is_jupyter,
        transient=True,
    ) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: float = 1) -> None:
            bar.advance(task, steps)

        yield advance


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate over `items` with a progress bar. `total` is needed where len(items) is unknown."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
