"""What a grading run looks like: a table that lives, or plain lines where nobody is looking."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from trtlab_grader.runs import Event

_MOST_ROWS = 24
_STYLES = {
    "waiting": "dim",
    "running": "yellow",
    "graded": "#76B900",
    "already graded": "#76B900",
    "failed": "bold red",
}


class RunView:
    """Follows the events of a run."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], Event] = {}
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(complete_style="#76B900", finished_style="#76B900"),
            TextColumn("{task.fields[count]}"),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}"),
        )
        self._task = self._bar.add_task("Grading", total=1.0, count="", left="-")

    def __call__(self, event: Event) -> None:
        """Note an event; called from any thread."""
        with self._lock:
            self._latest[event.submission.student, event.submission.assignment] = event

    def __rich__(self) -> Group:
        with self._lock:
            events = dict(self._latest)
        done, total = self._progress(events)
        self._bar.update(
            self._task,
            total=max(total, 1),
            completed=done,
            count=f"{sum(e.state in ('graded', 'failed') for e in events.values())} of {total}",
            left=_duration(self.seconds_left(done, total)),
        )
        return Group(_table(events), self._bar)

    def seconds_left(self, done: float, total: int) -> float | None:
        """Return about how long it still takes, from what has been done so far."""
        if done <= 0.02 * total:
            return None
        return (time.monotonic() - self._start) * (total - done) / done

    @staticmethod
    def _progress(events: dict[tuple[str, str], Event]) -> tuple[float, int]:
        work = [event for event in events.values() if event.state != "already graded"]
        return sum(event.share for event in work), len(work)


@contextmanager
def followed(json: bool) -> Iterator[RunView]:
    """Yield a view to pass events to, shown on stderr while the block runs.

    On a terminal it is a live table; elsewhere a line for each lab that ends; with `json` nothing.
    """
    view = RunView()
    console = Console(stderr=True)
    if json:
        yield view
    elif console.is_terminal:
        with Live(view, console=console, refresh_per_second=4, transient=True):
            yield view
    else:
        yield _Lines()


class _Lines(RunView):
    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.state in ("graded", "failed"):
            name = f"{event.submission.student} {event.submission.assignment}"
            print(f"{name}: {_words(event)}", file=sys.stderr, flush=True)


def _table(events: dict[tuple[str, str], Event]) -> Table:
    """Return a row for each student, a column for each lab; of many, those at work and the last."""
    students: dict[str, dict[str, Event]] = {}
    for (student, assignment), event in sorted(events.items()):
        students.setdefault(student, {})[assignment] = event
    labs = sorted({assignment for _, assignment in events})
    rows = sorted(students.items(), key=lambda row: (_rank(row[1]), row[0]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("student", no_wrap=True)
    for lab in labs:
        table.add_column(lab, no_wrap=True)
    for student, of_lab in rows[:_MOST_ROWS]:
        cells = [_cell(of_lab[lab]) if lab in of_lab else Text("") for lab in labs]
        table.add_row(Text(student), *cells)
    if len(rows) > _MOST_ROWS:
        table.add_row(Text(f"and {len(rows) - _MOST_ROWS} more", style="dim"))
    return table


def _rank(labs: dict[str, Event]) -> int:
    states = {event.state for event in labs.values()}
    return 0 if "running" in states else 1 if "failed" in states else 2 if "graded" in states else 3


def _cell(event: Event) -> Text:
    return Text(_words(event), style=_STYLES[event.state])


def _words(event: Event) -> str:
    if event.record is not None:
        most = sum(task.verdict.max_points for task in event.record.tasks.values() if task.verdict)
        marks = "".join(sorted({"!" for flag in event.record.flags if flag.kind == "attack"}))
        return f"{event.record.points:g}/{most:g}{marks}"
    if event.state == "running":
        return f"{event.text} {event.share:.0%}"
    return f"failed: {event.text}" if event.state == "failed" else event.state


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
