"""What the notebooks import: `from trtlab.lab import check, hint, predict, ...`.

This is the student's side: it runs the student's code, shows cards and pictures, and decides
nothing that is graded; the grader judges from evidence of its own with the same checks.
"""

from trtlab.lab.artifacts import artifact, provided
from trtlab.lab.by_hand import precheck
from trtlab.lab.checklist import show_checklist
from trtlab.lab.figures import show_figures_inline
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

show_figures_inline()
