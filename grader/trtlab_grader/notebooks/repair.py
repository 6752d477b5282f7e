"""Make the notebook that is graded: the student's work in the frame of the release.

The release says what locked cells contain and what each cell is worth. The student's solutions and
own cells stay, in the student's order. Outputs, attachments and foreign metadata are dropped.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode, from_dict, v4
from nbgrader.utils import compute_checksum

from trtlab_grader.notebooks.matching import Matching, grade_id_of, is_locked, match, task_of
from trtlab_grader.notebooks.reading import (
    PlainCell,
    PlainNotebook,
    Problem,
    Unreadable,
    read_plain,
    shortened,
)
from trtlab_grader.records import Flag, FlagKind

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NEW_CELL = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}


@dataclass(frozen=True)
class Repaired:
    """What is graded of a submitted notebook.

    Attributes:
        notebook: format 4, valid; every nbgrader cell of the release is in it exactly once.
        flags: what was put right, and what somebody should know.
        problem: why nothing of the submission is in it; None where it could be read.
    """

    notebook: NotebookNode
    flags: tuple[Flag, ...]
    problem: Problem | None = None


def repair_file(path: Path, released: NotebookNode) -> Repaired:
    """Read a submitted notebook and repair it. Whatever the file is, this raises nothing.

    Where it cannot be read, the notebook is the nbgrader cells of the release, untouched.
    """
    try:
        submitted = read_plain(path)
    except Unreadable as error:
        text = f"{error}. It was graded as if nothing had been written."
        flag = Flag(kind="human", code=f"notebook-{error.problem}", text=text)
        notebook = repair(PlainNotebook([], 0, None), released).notebook
        return Repaired(notebook, (flag,), error.problem)
    return repair(submitted, released)


def repair(submitted: PlainNotebook, released: NotebookNode) -> Repaired:
    """Put a submission's cells into the frame of the release."""
    matching = match(released.cells, submitted.cells)
    notebook = copy.deepcopy(released)
    notebook.cells = _in_order(submitted.cells, released.cells, matching)
    return Repaired(notebook, tuple(_flags(submitted, released, matching)))


def _in_order(
    cells: list[PlainCell], release: list[NotebookNode], matching: Matching
) -> list[NotebookNode]:
    """Return the submitted cells in their order, with those that are missing put back."""
    number_of = {index: number for number, index in matching.found.items()}
    marked = {number for number, cell in enumerate(release) if grade_id_of(cell) is not None}
    used = {release[number].id for number in marked | matching.found.keys()}
    ordered: list[tuple[int | None, NotebookNode]] = []
    for index, cell in enumerate(cells):
        number = number_of.get(index)
        ordered.append((number, _restored(cell, None if number is None else release[number], used)))
    for number in sorted(marked - matching.found.keys()):
        before = [place for place, (known, _) in enumerate(ordered) if _precedes(known, number)]
        nearest = max(before, key=lambda place: ordered[place][0] or 0, default=-1)
        ordered.insert(nearest + 1, (number, copy.deepcopy(release[number])))
    return [cell for _, cell in ordered]


def _precedes(known: int | None, number: int) -> bool:
    return known is not None and known < number


def _restored(cell: PlainCell, original: NotebookNode | None, used: set[str]) -> NotebookNode:
    if original is None:
        name = cell.id if cell.id and _CELL_ID.fullmatch(cell.id) else "own"
        unique, count = name, 1
        while unique in used:
            count += 1
            unique = f"{name[:56]}-{count}"
        used.add(unique)
        return _NEW_CELL[cell.kind](cell.source, id=unique)
    restored = copy.deepcopy(original)
    if grade_id_of(original) is None or not is_locked(original):
        restored.source = cell.source
    return restored


def _flags(submitted: PlainNotebook, released: NotebookNode, matching: Matching) -> Iterator[Flag]:
    cells = submitted.cells
    if submitted.unreadable:
        text = f"{submitted.unreadable} cells could not be read and were dropped."
        yield Flag(kind="note", code="cells-unreadable", text=text)
    kernel = released.metadata.get("kernelspec", {}).get("name")
    if submitted.kernel is not None and submitted.kernel != kernel:
        text = f"The kernel was {shortened(submitted.kernel)!r}; it is graded in {kernel!r}."
        yield Flag(kind="note", code="kernel-replaced", text=text)
    for number, original in enumerate(released.cells):
        name = grade_id_of(original)
        if name is None:
            continue
        if number in matching.found:
            yield from _changes(cells[matching.found[number]], original, name)
        else:
            text = f"The cell {name} was missing and was put back."
            yield Flag(kind="note", code="cell-deleted", text=text, task=task_of(name))
    for index in matching.copies:
        text = (
            f"A cell that claims to be {shortened(cells[index].grade_id or '')!r} is an extra one."
        )
        yield Flag(kind="note", code="cell-duplicated", text=text)
    places = [place for _, place in sorted(matching.found.items())]
    if places != sorted(places):
        yield Flag(kind="note", code="cells-reordered", text="Cells stand in another order.")


def _changes(cell: PlainCell, original: NotebookNode, name: str) -> Iterator[Flag]:
    mark, right, task = cell.mark, original.metadata.nbgrader, task_of(name)
    if cell.kind != original.cell_type:
        text = f"The cell {name} was of type {cell.kind}; it is {original.cell_type} again."
        yield Flag(kind="note", code="cell-type-changed", text=text, task=task)
    if not mark:
        text = f"The cell {name} had lost nbgrader's metadata, which was restored."
        yield Flag(kind="note", code="metadata-restored", text=text, task=task)
    elif "points" in right and mark.get("points") != right.points:
        given = shortened(repr(mark.get("points")))
        text = f"The cell {name} claimed {given} points instead of {right.points:g}."
        kind: FlagKind = "human" if _is_of_a_release(cell) else "attack"
        yield Flag(kind=kind, code="points-edited", text=text, task=task)
    if is_locked(original) and cell.source.split() != original.source.split():
        text = f"The locked cell {name} was {shortened(cell.source)!r}; it was restored."
        yield Flag(kind="human", code="locked-cell-edited", text=text, task=task)


def _is_of_a_release(cell: PlainCell) -> bool:
    """Return whether nbgrader's checksum fits: then it may be from an earlier release."""
    claimed = from_dict(
        {"cell_type": cell.kind, "source": cell.source, "metadata": {"nbgrader": cell.mark}}
    )
    try:
        return bool(cell.mark.get("checksum") == compute_checksum(claimed))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False
