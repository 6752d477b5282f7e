"""Whether a student wrote anything for a task, as the notebook's text says.

What a kernel says of a task's function can be forged in the kernel. Of a function that stands
there as it was released, nothing has to be asked.
"""

import ast
from collections.abc import Iterator, Mapping

from nbformat import NotebookNode

from trtlab.checks.evidence import Attempt
from trtlab_grader.parsing import notebook_trees

_CLASS4 = ("TensorRTInference",)
_WRITTEN_FOR: Mapping[str, tuple[str, ...]] = {
    "1.1": ("export_model",),
    "1.2": ("simplify_model",),
    "2.1": ("build_engine_fp16",),
    "2.2": ("build_engine_dynamic",),
    "2.3": ("build_engine_fp16", "build_engine_dynamic"),
    "2.4": ("build_engine_fp16",),
    "3.1": ("CalibrationDataset",),
    "3.2": ("Int8EntropyCalibrator",),
    **dict.fromkeys(("3.3", "3.4", "3.5"), ("build_engine_int8",)),
    **dict.fromkeys(("4.1", "4.2", "4.3"), _CLASS4),
    "5.1": ("benchmark_latency",),
    "5.2": ("benchmark_throughput",),
    **dict.fromkeys(("5.3", "5.4", "5.5"), ("evaluate_accuracy",)),
}
"""Task -> what students write for it. Any of them will do: how good it is, is for the checks."""


def unwritten(task: str, notebook: NotebookNode, released: NotebookNode) -> Attempt | None:
    """Return how far a task got of which nothing was written; None if something was.

    A name that is bound in any other way than in the release, in whatever cell, was written.
    """
    names = _WRITTEN_FOR.get(task, ())
    given, found = _bindings(released, names), _bindings(notebook, names)
    if not names or not found <= given:
        return None
    # There is none at all where its cell is no Python.
    return Attempt(stage="not started" if found else "missing", what=names[0])


def _bindings(notebook: NotebookNode, names: tuple[str, ...]) -> set[str]:
    """Return everything that binds one of the names, as text without comments and layout."""
    return {
        ast.dump(node)
        for tree in notebook_trees(notebook)
        for node in ast.walk(tree)
        if any(name in names for name in _bound(node))
    }


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.alias(name=name, asname=asname):
            yield asname or name
