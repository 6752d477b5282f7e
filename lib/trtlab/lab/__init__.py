"""What the notebooks import: `from trtlab.lab import check, hint, predict, ...`.

This is the student's side: it runs the student's code, shows cards and pictures, and decides
nothing that is graded; the grader judges from evidence of its own with the same checks.

A name is imported when it is first asked for. The grader starts a process for each submission that
needs one module of this package, and all of it takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtlab.lab.artifacts import artifact, provided
    from trtlab.lab.by_hand import precheck
    from trtlab.lab.checklist import show_checklist
    from trtlab.lab.hints import hint
    from trtlab.lab.predictions import predict, show_predictions
    from trtlab.lab.session import check

__all__ = [
    "artifact",
    "check",
    "hint",
    "precheck",
    "predict",
    "provided",
    "show_checklist",
    "show_predictions",
]
_MODULES = {
    "artifact": "artifacts",
    "check": "session",
    "hint": "hints",
    "precheck": "by_hand",
    "predict": "predictions",
    "provided": "artifacts",
    "show_checklist": "checklist",
    "show_predictions": "predictions",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("trtlab.lab.figures").show_figures_inline()
    return getattr(import_module(f"trtlab.lab.{_MODULES[name]}"), name)
