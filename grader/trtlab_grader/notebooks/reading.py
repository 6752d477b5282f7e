"""From the bytes of a submitted file to plain cells, or to the reason why there are none.

The file is hostile: it is opened without following links, its size and shape are bounded before
anything looks at it, and what is off ends as an Unreadable, never as another exception.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trtlab.errors import TrtLabError
from trtlab.lab.exchange import ExchangeError, read_bytes

MAX_BYTES = 32 << 20
"""The labs with every picture in them have less than a tenth of it."""
MAX_CELLS = 1000
MAX_SOURCE = 4_000_000
"""Characters of all cells together, outputs aside. More would choke whoever renders it."""

Problem = Literal["missing", "too-large", "empty", "not-json", "not-a-notebook"]


class Unreadable(TrtLabError):
    """A submitted file is no notebook that could be graded.

    Attributes:
        problem: which kind of no notebook.
    """

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem: Problem = problem


@dataclass
class PlainCell:
    """One cell as it was submitted, stripped of outputs, attachments and foreign metadata.

    Attributes:
        kind: "code", "markdown" or "raw".
        source: text that can be written as UTF-8.
        id: what the file says, if it is text.
        mark: the cell's nbgrader metadata, as far as it is plain values.
    """

    kind: str
    source: str
    id: str | None
    mark: dict[str, Any]

    @property
    def grade_id(self) -> str | None:
        """nbgrader's name of the cell, if it has one that is text."""
        name = self.mark.get("grade_id")
        return name if isinstance(name, str) else None


@dataclass(frozen=True)
class PlainNotebook:
    """What is left of a submitted notebook.

    Attributes:
        cells: those that could be read, in order.
        unreadable: how many could not.
        kernel: the kernel's name, if the file gives one.
    """

    cells: list[PlainCell]
    unreadable: int
    kernel: str | None


def read_plain(path: Path) -> PlainNotebook:
    """Read a submitted notebook.

    Raises:
        Unreadable: if there is no regular file, it is too large, or not a notebook of format 4.
    """
    if not os.path.lexists(path):
        raise Unreadable("missing", f"{path.name} was not handed in")
    try:
        data = read_bytes(path, MAX_BYTES)
    except ExchangeError as error:
        too_large = path.is_file() and not path.is_symlink() and path.stat().st_size > MAX_BYTES
        raise Unreadable("too-large" if too_large else "missing", str(error)) from None
    if not data.strip():
        raise Unreadable("empty", f"{path.name} is empty")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a huge number
        raise Unreadable("not-json", f"{path.name} is not JSON: {shortened(str(error))}") from None
    return plain(content, path.name)


def plain(content: object, name: str = "the file") -> PlainNotebook:
    """Return what is usable in a notebook's JSON.

    Raises:
        Unreadable: if it is not a notebook of format 4, or beyond the bounds above.
    """
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(content, dict) or content.get("nbformat") != 4 or not isinstance(cells, list):
        raise Unreadable("not-a-notebook", f"{name} is JSON, but not a notebook of format 4")
    if len(cells) > MAX_CELLS:
        text = f"{name} has {len(cells):,} cells, and may have {MAX_CELLS:,}"
        raise Unreadable("too-large", text)
    read = [cell for cell in map(_plain_cell, cells) if cell is not None]
    length = sum(len(cell.source) for cell in read)
    if length > MAX_SOURCE:
        text = f"{name} has {length:,} characters of text and code, and may have {MAX_SOURCE:,}"
        raise Unreadable("too-large", text)
    return PlainNotebook(read, len(cells) - len(read), _kernel(content.get("metadata")))


def shortened(text: str, most: int = 80) -> str:
    """Return the start of a text as one line, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _plain_cell(cell: object) -> PlainCell | None:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return None
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    metadata, name = cell.get("metadata"), cell.get("id")
    mark = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return PlainCell(
        kind=cell["cell_type"],
        source=_writable(source),
        id=name if isinstance(name, str) else None,
        mark=_scalars(mark) if isinstance(mark, dict) else {},
    )


def _scalars(mark: dict[str, object]) -> dict[str, Any]:
    # What nbgrader writes is flat. Whatever is nested could be nested too deep to be shown.
    return {k: v for k, v in mark.items() if v is None or isinstance(v, str | int | float)}


def _writable(text: str) -> str:
    # JSON can hold halves of surrogate pairs and NUL; UTF-8 has no place for the first, and
    # PostgreSQL none for the second.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _kernel(metadata: object) -> str | None:
    spec = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) else None
