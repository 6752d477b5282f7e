"""What can be read in a notebook without running it: texts by grade id, functions, docstrings.

For documentation, which a machine can only prepare for the person who grades it. Student code is
parsed here, never executed; links are not followed, and there is a limit to sizes and numbers.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager
from pydantic import BaseModel, ConfigDict

from trtlab.errors import InputError

MAX_NOTEBOOK_BYTES, LONGEST_ANSWER = 32 << 20, 100_000
MOST_NOTEBOOKS = 40
"""In the folders of a course, which has seven: students keep copies beside them."""
PLACEHOLDER = "YOUR ANSWER HERE"  # what nbgrader leaves for the student to replace
_MARK_SCHEME = re.compile(r"^[^\n]*BEGIN MARK SCHEME.*?END MARK SCHEME[^\n]*$", re.S | re.M)


class Definition(BaseModel):
    """A function or class that a student wrote.

    Attributes:
        notebook: the file's name: "02-build.ipynb".
        name: "build_engine_fp16".
        documented: whether it has a docstring.
        unwritten: whether something in it still raises NotImplementedError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    notebook: str
    name: str
    documented: bool
    unwritten: bool


def read_notebook(path: Path) -> Any:
    """Read a notebook of any 4.x format.

    Raises:
        InputError: if there is no such file, or it is damaged or larger than MAX_NOTEBOOK_BYTES.
    """
    if path.is_symlink() or not path.is_file():
        raise InputError(f"There is no notebook {path}.")
    if path.stat().st_size > MAX_NOTEBOOK_BYTES:
        limit = f"{MAX_NOTEBOOK_BYTES >> 20} MiB"
        raise InputError(f"{path} is larger than {limit}. Clear its outputs and save it again.")
    import nbformat  # takes more than a second, and few of those who import this module need it

    try:
        notebook = nbformat.read(path, as_version=4)
    # nbformat lets through whatever its parts raise on files that are no notebooks.
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{path} is not a readable notebook ({reason}). Save it again.") from error
    if not _is_whole(notebook):
        raise InputError(f"{path} is not a readable notebook (odd cells). Save it again.")
    return notebook


def _is_whole(notebook: Any) -> bool:
    """Return whether a notebook has what is read here; nbformat reads more than is valid."""
    cells = notebook.get("cells")
    kinds = {"cell_type": str, "source": str, "metadata": dict}
    return isinstance(cells, list) and all(
        isinstance(cell, dict) and all(isinstance(cell.get(k), kind) for k, kind in kinds.items())
        for cell in cells
    )


def notebook_with(folder: Path, grade_id: str) -> Path | None:
    """Return the notebook in `folder` that has a cell of this grade id, the last saved if several.

    Students rename files; nbgrader's ids stay.
    """
    newest_first = sorted(folder.glob("*.ipynb"), key=lambda p: p.lstat().st_mtime, reverse=True)
    for path in newest_first[:MOST_NOTEBOOKS]:
        try:
            cells = read_notebook(path).cells
        except InputError:
            continue
        if any(_nbgrader(cell).get("grade_id") == grade_id for cell in cells):
            return path
    return None


def answer(path: Path, grade_id: str) -> str:
    """Return the text of a solution cell; "" if it is not there or not answered.

    What goes beyond LONGEST_ANSWER characters is left out.

    The instructor's mark scheme, which a release has not, is no part of it.

    Raises:
        InputError: as `read_notebook`.
    """
    for cell in read_notebook(path).cells:
        if _nbgrader(cell).get("grade_id") == grade_id:
            text = _MARK_SCHEME.sub("", cell.source[:LONGEST_ANSWER]).strip()
            return "" if text == PLACEHOLDER else text
    return ""


def definitions(path: Path) -> list[Definition]:
    """Return the functions and classes at the top level of a notebook's solution cells, in order.

    A method is documented by its class; names that begin with an underscore are the author's own.

    Raises:
        InputError: as `read_notebook`.
    """
    return [
        Definition(
            notebook=path.name,
            name=node.name,
            documented=ast.get_docstring(node) is not None,
            unwritten=any(_is_stub(inner) for inner in ast.walk(node)),
        )
        for cell in read_notebook(path).cells
        if cell.cell_type == "code" and _nbgrader(cell).get("solution")
        for node in _top_level(cell.source)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]


def course_definitions(folder: Path) -> list[Definition]:
    """Return the definitions in a lab's folder and in those of the other labs beside it.

    A damaged notebook is left out.
    """
    here = folder.absolute()
    paths = {*here.glob("*.ipynb"), *here.parent.glob("0[1-6]-*/*.ipynb")}
    found = []
    for path in sorted(paths, key=lambda p: p.name)[:MOST_NOTEBOOKS]:
        if path.parent.is_symlink():
            continue
        try:
            found += definitions(path)
        except InputError:
            continue
    return found


def _nbgrader(cell: Any) -> dict[str, object]:
    about = cell.metadata.get("nbgrader")
    return about if isinstance(about, dict) else {}


def _top_level(source: str) -> Iterator[ast.stmt]:
    try:
        yield from ast.parse(TransformerManager().transform_cell(source)).body
    # A cell that does not compile defines nothing, nor does one that is made to break the parser.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _is_stub(node: ast.AST) -> bool:
    if not isinstance(node, ast.Raise) or node.exc is None:
        return False
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
