"""Evidence for lab 6: run the student's report functions on several results; read the analysis."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure

from trtlab.checks.charts6 import CHARTS
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence6 import AnalysisEvidence, ChartFacts, ReportCase, ReportEvidence
from trtlab.checks.notebooks import answer, course_definitions, notebook_with
from trtlab.errors import InputError
from trtlab.lab.figure_facts import axis_labels, drawn, written
from trtlab.lab.made_up_results import made_up_results
from trtlab.lab.session import Names, attempt, collector, missing
from trtlab.results import Results

ANALYSIS = "task-6-2"


@collector("6.1")
def collect_report(names: Names) -> ReportEvidence:
    """Run make_report and the charts on the student's results and on two made-up ones."""
    results = names.get("results")
    if not isinstance(results, Results):
        return ReportEvidence(attempt=missing("results"))
    if not callable(names.get("make_report")):
        return ReportEvidence(attempt=missing("make_report"))
    inputs = {
        "your results": results,
        "made-up results of a GPU": made_up_results(1, emulated=False),
        "made-up results of an emulation": made_up_results(2, emulated=True),
    }
    cases = []
    with _undisplayed():
        for name, given in inputs.items():
            case = _case(names, name, given)
            if case.attempt.stage != "done":
                error = f"{case.attempt.error}, on {name}" if case.attempt.error else ""
                return ReportEvidence(attempt=case.attempt.model_copy(update={"error": error}))
            cases.append(case)
    return ReportEvidence(
        attempt=cases[0].attempt, cases=tuple(cases), definitions=tuple(course_definitions(Path()))
    )


@collector("6.2")
def collect_analysis(names: Names) -> AnalysisEvidence:
    """Read the answer from the notebook's file: a kernel does not see Markdown cells.

    Raises:
        InputError: if the notebook defines no `results`, which the answer is compared with.
    """
    results = names.get("results")
    if not isinstance(results, Results):
        raise InputError("There are no `results` to compare with: run the cell that reads them.")
    path = notebook_with(Path(), ANALYSIS)
    return AnalysisEvidence(
        attempt=Attempt(stage="done", what="the analysis"),
        text=answer(path, ANALYSIS) if path else "",
        source=path.name if path else "this folder",
        results=results,
    )


def _case(names: Names, name: str, results: Results) -> ReportCase:
    stage, report = attempt("make_report", lambda: names["make_report"](results))
    if stage.stage == "done" and not isinstance(report, Mapping):
        error = f"TypeError: it must return a dict, and returned {type(report).__name__}"
        stage = Attempt(stage="raised", what="make_report", error=error)
    return ReportCase(
        name=name,
        results=results,
        attempt=stage,
        report=plain(report) if stage.stage == "done" else {},
        charts={chart.function: _chart(names, chart.function, results) for chart in CHARTS},
    )


def _chart(names: Names, function: str, results: Results) -> ChartFacts:
    draw: Callable[[Results], Any] | None = names.get(function)
    if not callable(draw):
        return ChartFacts(attempt=missing(function))
    stage, figure = attempt(function, lambda: draw(results))
    if not isinstance(figure, Figure):
        return ChartFacts(attempt=stage, returned=type(figure).__name__)
    return ChartFacts(
        attempt=stage,
        returned="Figure",
        labels=axis_labels(figure),
        texts=written(figure),
        values=drawn(figure),
    )


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: keys as text, NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)  # NaN and infinity are no figures
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"a {type(value).__name__}"


@contextmanager
def _undisplayed() -> Iterator[None]:
    """Keep what the student's functions print and draw out of the card's cell."""
    before = set(plt.get_fignums())
    with capture_output(stdout=True, stderr=False, display=True):
        yield
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
