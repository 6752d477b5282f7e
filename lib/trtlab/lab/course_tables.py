"""The parts of docs/course.md that follow from the code: points, weights, misconceptions.

`python -m trtlab.lab.course_tables` writes them anew between the document's markers; a test
compares.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

import trtlab.checks
from trtlab.checks.misconceptions import MISCONCEPTIONS
from trtlab.checks.tasks import TASKS, tasks_of
from trtlab.files import write_text
from trtlab.lab.pipeline_picture import STEPS

DOCUMENT = Path("docs/course.md")
CATEGORIES = ("correctness", "performance", "accuracy", "documentation")


def points_table() -> str:
    """Return the tasks with their points, by criterion."""
    heads = ["Task", *(category.capitalize() for category in CATEGORIES), "Graded by"]
    lines = [_row(heads), _row(["---", *["--:"] * len(CATEGORIES), "---"])]
    for task in TASKS.values():
        points = [str(task.points) if task.category == name else "" for name in CATEGORIES]
        by = "hand" if task.category == "documentation" else "check"
        lines.append(_row([f"{task.number} {task.title}", *points, by]))
    totals = [f"**{points_of(category)}**" for category in CATEGORIES]
    return "\n".join([*lines, _row(["**Total**", *totals, ""])])


def points_of(category: str) -> int:
    """Return the points of one criterion over all labs."""
    return sum(task.points for task in TASKS.values() if task.category == category)


def labs_table() -> str:
    """Return the notebooks with their time, points and what they make."""
    lines = [
        _row(["Notebook", "Minutes", "Points", "Makes"]),
        _row(["---", "--:", "--:", "---"]),
    ]
    for lab, step in enumerate(STEPS):
        points = sum(task.points for task in tasks_of(lab)) or "–"
        lines.append(_row([step.title, str(step.minutes), str(points), step.makes]))
    return "\n".join(lines)


def misconceptions_list() -> str:
    """Return every misconception that the checks recognise, by lab."""
    parts = []
    for lab, keys in misconceptions_by_lab().items():
        parts += [f"### Lab {STEPS[lab].title}", ""]
        for key in keys:
            known = MISCONCEPTIONS[key]
            parts.append(f"- **{known.title}** (`{key}`). {known.explanation}")
        parts.append("")
    return "\n".join(parts).rstrip()


def misconceptions_by_lab() -> dict[int, list[str]]:
    """Return the keys of MISCONCEPTIONS by lab; a module's lab is the digit in its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(trtlab.checks.__path__))
    found: dict[int, list[str]] = {}
    for name in names:
        digit = re.search(r"\d", name)
        if digit is None:
            continue
        module = importlib.import_module(f"trtlab.checks.{name}")
        keys = found.setdefault(int(digit[0]), [])
        values = [value for value in vars(module).values() if isinstance(value, str)]
        keys += [value for value in values if value in MISCONCEPTIONS and value not in keys]
    return {lab: sorted(keys) for lab, keys in sorted(found.items()) if keys}


PARTS: dict[str, Callable[[], str]] = {
    "labs": labs_table,
    "points": points_table,
    "misconceptions": misconceptions_list,
}
"""Marker in the document -> what stands between it and its end."""


def filled_in(document: str) -> str:
    """Return the document with its parts as the code has them now.

    Raises:
        ValueError: if a marker is missing.
    """
    for name, make in PARTS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(document):
            raise ValueError(f"the document has no part between <!-- {name} --> and its end")
        part = f"{make()}\n"
        document = pattern.sub(lambda match, part=part: match[1] + part + match[2], document)  # type: ignore[misc]
    return document


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write_text(DOCUMENT, filled_in(DOCUMENT.read_text(encoding="utf-8")))
