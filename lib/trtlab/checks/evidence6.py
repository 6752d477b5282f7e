"""The evidence of lab 6: report and charts on several results files, and the analysis.

The functions are tried on more than the student's own results, because those of an emulated run
hold no speed-ups, and a figure that was typed in shows on a second file only.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.notebooks import Definition
from trtlab.results import Results

MOST_TEXTS, MOST_VALUES = 1000, 10_000
"""Of a figure; what goes beyond is no chart for people, and is not looked at."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChartFacts(_Facts):
    """What can be read off a Matplotlib figure.

    Attributes:
        attempt: of the function that draws it.
        returned: the type of what it returned; "Figure" where all is well.
        labels: axis labels, in any order.
        texts: everything else that is written on it: titles, legends, tick labels, annotations.
        values: every number that is drawn as data: bar lengths, points of lines, markers, error
            bars. Reference lines across the whole axes are no data.
    """

    attempt: Attempt
    returned: str = ""
    labels: list[str] = Field(default=[], max_length=MOST_TEXTS)
    texts: list[str] = Field(default=[], max_length=MOST_TEXTS)
    values: list[float] = Field(default=[], max_length=MOST_VALUES)


class ReportCase(_Facts):
    """The student's functions on one results file.

    Attributes:
        name: "your results", or what the made-up file stands for.
        results: what they were given.
        attempt: of make_report.
        report: what it returned, keys as text, numbers as Python floats.
        charts: by the function's name.
    """

    name: str
    results: Results
    attempt: Attempt
    report: dict[str, Any]
    charts: dict[str, ChartFacts]


class ReportEvidence(Evidence):
    """Task 6.1: `attempt` is make_report on the student's own results, which come first in `cases`.

    `definitions` are the functions and classes of all the notebooks of the course that were found.
    """

    cases: tuple[ReportCase, ...] = ()
    definitions: tuple[Definition, ...] = ()


class AnalysisEvidence(Evidence):
    """Task 6.2: the answer as Markdown, where it was read, and the results that it is about."""

    text: str
    source: str
    results: Results
