"""Parses the code of cells as IPython would run it, without running any."""

import ast
from collections.abc import Iterator

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

_MAGIC = ("run_line_magic", "run_cell_magic")
_UNREADABLE = "eval(...)"
"""Stands for code that no parser gets through: as hard to look into."""


def trees_of(source: str) -> list[ast.Module]:
    """Return the syntax trees of a cell: its own, and those of the code that magic in it holds.

    None at all of a cell that IPython would refuse. IPython's own syntax is in the tree as IPython
    translates it: `!ls` is `get_ipython().system('ls')`.
    """
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return []
    except (ValueError, RecursionError, MemoryError):
        tree = ast.parse(_UNREADABLE)
    trees = [tree]
    for _, arguments in magic_in(tree):
        for argument in arguments:
            trees += trees_of(argument)
    return trees


def magic_in(tree: ast.AST) -> Iterator[tuple[ast.Call, list[str]]]:
    """Yield the calls of magic in a tree, and their arguments but the name, which is text."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=called), args=[_, *rest]) if called in _MAGIC:
                constants = [part.value for part in rest if isinstance(part, ast.Constant)]
                yield node, [value for value in constants if isinstance(value, str)]


def notebook_trees(notebook: NotebookNode) -> list[ast.Module]:
    """Return the syntax trees of all code cells."""
    code = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    return [tree for source in code for tree in trees_of(source)]
