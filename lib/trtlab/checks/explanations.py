"""Pre-checks of tasks 1.3, 2.5 and 3.6: what a machine can say about a written explanation.

It sees whether every question has an answer, and whether figures are quoted; that is worth half of
the points at most. Whether an answer is right is for the person who grades it to say.
"""

import re

from trtlab.checks.analysis6 import words
from trtlab.checks.evidence import Evidence
from trtlab.checks.findings import expect
from trtlab.checks.registry import check
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding

QUESTIONS = {"1.3": 4, "2.5": 3, "3.6": 3}
"""Task -> how many numbered questions it asks."""

FEWEST_WORDS = 12  # of one answer
FEWEST_FIGURES = 3

_NUMBERED = re.compile(r"\s*[*_]{0,2}\(?(\d)[.):]")
_FIGURE = re.compile(r"(?<![\w.])\d[\d,.]*")


class ExplanationEvidence(Evidence):
    """The text of the answer, "" if there is none, and the notebook that it was read from."""

    text: str
    source: str


@check("1.3")
def export(evidence: ExplanationEvidence) -> list[Finding]:
    """Look for the four answers about the export."""
    return _explanation("1.3", evidence)


@check("2.5")
def build(evidence: ExplanationEvidence) -> list[Finding]:
    """Look for the three answers about the build."""
    return _explanation("2.5", evidence)


@check("3.6")
def calibration(evidence: ExplanationEvidence) -> list[Finding]:
    """Look for the three answers about calibration."""
    return _explanation("3.6", evidence)


def answers(text: str, count: int) -> list[str]:
    """Return what stands behind each of the numbers 1 to `count`; "" where there is none.

    A number that does not go on where the last one ended begins no answer, so that a list within an
    answer is part of it.
    """
    parts = [""] * count
    current = 0
    for line in text.splitlines():
        numbered = _NUMBERED.match(line)
        if numbered and current < count and int(numbered[1]) == current + 1:
            current += 1
            line = line[numbered.end() :]
        if current:
            parts[current - 1] += line + "\n"
    return parts


def _explanation(task: str, evidence: ExplanationEvidence) -> list[Finding]:
    points = TASKS[task].points
    if not evidence.text:
        return [
            Finding(
                criterion="an explanation is written",
                state="not started",
                points=0,
                max_points=points,
                measured=f"no answer in {evidence.source}",
                required=f"answers to {QUESTIONS[task]} questions, numbered",
                next_step=f"Write your answers into the cell of task {task} and save the notebook.",
            )
        ]
    parts = answers(evidence.text, QUESTIONS[task])
    short = [str(n) for n, part in enumerate(parts, 1) if words(part) < FEWEST_WORDS]
    figures = [figure for part in parts for figure in _FIGURE.findall(part)]
    return [
        expect(
            "every question has an answer",
            not short,
            points / 4,
            measured=f"too short or missing: {', '.join(short)}" if short else "all of them",
            required=f"{len(parts)}, each of {FEWEST_WORDS} words at least",
            next_step="Begin each answer with the number of its question, and save the notebook.",
        ),
        expect(
            "figures are quoted",
            len(figures) >= FEWEST_FIGURES,
            points / 4,
            measured=f"{len(figures)} figures",
            required=f"{FEWEST_FIGURES} at least",
            next_step="Quote what your own files and pictures show: counts, sizes, ranges.",
        ),
        Finding(
            criterion="the answers are right",
            state="inconclusive",
            points=0,
            max_points=points / 2,
            measured="not judged by machine",
            required="what the mark scheme asks for",
            next_step="Nothing to do: a person grades this.",
        ),
    ]
