"""`hint("2.2")`: three rungs for each task, one more at every call.

The first rung is the concept, the second names the API, the third is nearly code. The texts are in
hints/LAB.md: a `## 2.2` heading for each task, and three paragraphs or blocks separated by `---`.
"""

from importlib.resources import files

from IPython.display import Markdown, display

from trtlab.checks.tasks import TASKS
from trtlab.errors import InputError

RUNGS = ("The idea", "The API", "Nearly the code")
_taken: dict[str, int] = {}


def hint(task: str) -> None:
    """Show the next hint for a task; after the third it starts again. Hints cost no points.

    Raises:
        InputError: if there is no such task, or it has no hints.
    """
    rungs = hints_for(task)
    index = _taken.get(task, 0) % len(RUNGS)
    _taken[task] = index + 1
    more = f" ({len(RUNGS) - index - 1} more)" if index + 1 < len(RUNGS) else ""
    heading = f"**Hint {index + 1} for task {task}: {RUNGS[index]}**{more}"
    display(Markdown(f"{heading}\n\n{rungs[index]}"))


def hints_for(task: str) -> tuple[str, str, str]:
    """Return the three hints of a task as Markdown.

    Raises:
        InputError: if there is no such task, or it has no hints.
    """
    if task not in TASKS:
        raise InputError(f"There is no task {task!r}; the tasks are {', '.join(TASKS)}.")
    text = (files("trtlab.lab") / "hints" / f"lab{TASKS[task].lab}.md").read_text("utf-8")
    sections = {
        section.split("\n", 1)[0].strip(): section.split("\n", 1)[1]
        for section in text.split("\n## ")[1:]
    }
    if task not in sections:
        raise InputError(f"There are no hints for task {task}.")
    concept, api, code = (rung.strip() for rung in sections[task].split("\n---\n"))
    return concept, api, code
