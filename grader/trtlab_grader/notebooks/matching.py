"""Which submitted cell is which cell of the release.

A cell is recognised by its grade_id, else by its id, else by its unchanged text, else, for a
solution whose metadata was lost, by its place between cells that were recognised.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nbformat import NotebookNode

from trtlab.checks.tasks import TASKS
from trtlab_grader.notebooks.reading import PlainCell


@dataclass
class Matching:
    """What was recognised.

    Attributes:
        found: index in the release -> index in the submission. One to one.
        copies: submitted cells that claim a grade_id which another one has, or which is unknown.
    """

    found: dict[int, int] = field(default_factory=dict)
    copies: list[int] = field(default_factory=list)


def grade_id_of(cell: NotebookNode) -> str | None:
    """Return nbgrader's name of a cell of the release; None for a cell that is not nbgrader's."""
    mark = cell.metadata.get("nbgrader", {})
    return mark["grade_id"] if mark.get("grade_id") else None


def is_locked(cell: NotebookNode) -> bool:
    """Return whether students may not change the cell."""
    return bool(cell.metadata.nbgrader.locked)


def task_of(grade_id: str) -> str | None:
    """Return the task whose cell this is: "2.2" for "check-2-2" or "task-2-2"."""
    number = ".".join(grade_id.split("-")[1:3])
    return number if number in TASKS else None


def match(release: Sequence[NotebookNode], cells: Sequence[PlainCell]) -> Matching:
    """Recognise the cells of a release among submitted ones."""
    matching = Matching()
    _by_grade_id(release, cells, matching)
    _by(release, cells, matching, [cell.get("id") for cell in release], [c.id for c in cells])
    _by(
        release,
        cells,
        matching,
        [cell.source.strip() or None for cell in release],
        [cell.source.strip() or None for cell in cells],
    )
    _by_place(release, cells, matching)
    return matching


def _by_grade_id(
    release: Sequence[NotebookNode], cells: Sequence[PlainCell], matching: Matching
) -> None:
    claims: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        if cell.grade_id is not None:
            claims.setdefault(cell.grade_id, []).append(index)
    for number, cell in enumerate(release):
        claimants = claims.pop(grade_id_of(cell) or "", [])
        if claimants:
            fitting = (index for index in claimants if cells[index].kind == cell.cell_type)
            # A cell whose type alone was changed is still the one.
            chosen = matching.found[number] = next(fitting, claimants[0])
            matching.copies += [index for index in claimants if index != chosen]
    matching.copies += [index for unknown in claims.values() for index in unknown]
    matching.copies.sort()


def _by(
    release: Sequence[NotebookNode],
    cells: Sequence[PlainCell],
    matching: Matching,
    wanted: Sequence[str | None],
    offered: Sequence[str | None],
) -> None:
    """Match what is left where kind and a text are the same on both sides."""
    free: dict[tuple[str, str], list[int]] = {}
    for index in _free(cells, matching):
        text = offered[index]
        if text is not None:
            free.setdefault((cells[index].kind, text), []).append(index)
    for number, cell in enumerate(release):
        text = wanted[number]
        if number not in matching.found and text is not None:
            same = free.get((cell.cell_type, text))
            if same:
                matching.found[number] = same.pop(0)


def _by_place(
    release: Sequence[NotebookNode], cells: Sequence[PlainCell], matching: Matching
) -> None:
    for number, cell in enumerate(release):
        if number in matching.found or grade_id_of(cell) is None or is_locked(cell):
            continue
        before = (matching.found[n] for n in range(number - 1, -1, -1) if n in matching.found)
        after = (matching.found[n] for n in range(number + 1, len(release)) if n in matching.found)
        low, high = next(before, -1), next(after, len(cells))
        near = [
            index
            for index in _free(cells, matching)
            if low < index < high and cells[index].kind == cell.cell_type
        ]
        alike = [i for i in near if _first_line(cells[i].source) == _first_line(cell.source)]
        if alike or len(near) == 1:
            matching.found[number] = (alike or near)[0]


def _free(cells: Sequence[PlainCell], matching: Matching) -> Iterator[int]:
    taken = {*matching.found.values(), *matching.copies}
    return (index for index in range(len(cells)) if index not in taken)


def _first_line(source: str) -> str:
    lines: Iterable[str] = source.strip().splitlines()
    return next(iter(lines), "")
