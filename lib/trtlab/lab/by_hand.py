"""`precheck("6.1")`: what a machine can say about a task that is graded by hand.

The card has the form of the others; it is no grade, and the cell has no value.
"""

from html import escape

from IPython.core.getipython import get_ipython
from IPython.display import display

from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab.errors import InputError
from trtlab.feedback import html_card, text_card
from trtlab.lab import session

NOTE = (
    "Graded by hand. This is what can be checked by machine; whoever grades it sees the same, and "
    "judges what no machine can: whether it is clear, and whether the reasons are right."
)


class PrecheckCard:
    """A verdict that is no grade, displayable as HTML and as text."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        note = f'<p style="max-width:60em;margin:.3em 0"><i>{escape(NOTE)}</i></p>'
        return {
            "text/html": note + html_card(self.verdict),
            "text/plain": f"{NOTE}\n\n{text_card(self.verdict)}",
        }


def precheck(task: str) -> None:
    """Show what can be checked of a task that is graded by hand.

    Args:
        task: "6.1", for example.

    Raises:
        InputError: if there is no such task, or nothing of it can be checked by machine.
    """
    if task in TASKS and TASKS[task].category != "documentation":
        raise InputError(f'Task {task} is graded by its check: use check("{task}").')
    shell = get_ipython()
    names = {} if shell is None else shell.user_ns
    display(PrecheckCard(session.verdict_on(task, names)))
