"""Probes 6.1 and 6.2: the student's report functions on several results, and the analysis as text.

Both are pre-checks of tasks that a person grades. A figure can only be looked at where Matplotlib
drew it, so what is on it is noted in the student's kernel; the analysis and the docstrings are read
from the notebook's file.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict

from trtlab.checks.charts6 import CHARTS
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence6 import (
    MOST_TEXTS,
    MOST_VALUES,
    AnalysisEvidence,
    ChartFacts,
    ReportCase,
    ReportEvidence,
)
from trtlab.checks.notebooks import course_definitions
from trtlab.errors import of_the_course
from trtlab.lab.artifacts import find_artifact, provided
from trtlab.lab.attempts import attempt, missing
from trtlab.lab.exchange import ExchangeError, read_bytes, read_model, write_model
from trtlab.lab.figure_facts import axis_labels, drawn, written
from trtlab.lab.made_up_results import made_up_results
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes.texts import TextProbe
from trtlab.results import Results, read_results

OWN = "own.json"
GPU, EMULATION = "gpu.json", "emulation.json"
MADE_UP = {GPU: "made-up results of a GPU", EMULATION: "made-up results of an emulation"}
LONGEST_TEXT = 500
PICTURE_DPI, MAX_PICTURE_BYTES = 80, 1 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


class CaseObserved(BaseModel):
    """What the student's functions made of one results file; see ReportCase."""

    model_config = ConfigDict(extra="forbid")

    attempt: Attempt
    report: dict[str, Any] = {}
    charts: dict[str, ChartFacts] = {}


class ReportObserved(Observed):
    """What they made of the student's own results, and of the made-up ones in their order."""

    cases: tuple[CaseObserved, ...] = ()


@probe("6.1")
class ReportProbe(Probe[ReportObserved]):
    """Run make_report and the charts on the student's results and on two made-up ones."""

    observed = ReportObserved

    def give(self, given: Path, seed: int) -> None:
        """Write made-up results."""
        for name, results in _made_up(seed).items():
            write_model(given / name, results)

    def run(self, names: Names, given: Path, made: Path) -> ReportObserved:
        """Note reports and what is on the charts; save the charts of the student's own results."""
        own = names.get("results")
        if not isinstance(own, Results):
            return ReportObserved(attempt=missing("results"))
        if not callable(names.get("make_report")):
            return ReportObserved(attempt=missing("make_report"))
        write_model(made / OWN, own)
        with _undisplayed():
            cases = [_case(names, own, made)]
            for name in MADE_UP:
                cases.append(_case(names, read_model(given / name, Results), None))
        return ReportObserved(attempt=cases[0].attempt, cases=tuple(cases))

    def evidence(self, observed: ReportObserved, scene: Scene) -> ReportEvidence:
        """Set the reports beside the results that they are of.

        The student's own are those that their notebook had loaded: whoever forges them has forged
        results.json as well, and the made-up ones tell.
        """
        if observed.attempt.stage != "done" and not observed.cases:
            return ReportEvidence(attempt=observed.attempt)
        results = {"your results": read_model(scene.made / OWN, Results)}
        results |= dict(zip(MADE_UP.values(), _made_up(scene.seed).values(), strict=True))
        if len(observed.cases) != len(results):
            raise ExchangeError(f"the kernel tried {len(observed.cases)} of {len(results)} results")
        pairs = list(zip(results.items(), observed.cases, strict=True))
        for (name, _), case in pairs:
            if case.attempt.stage != "done":
                error = f"{case.attempt.error}, on {name}" if case.attempt.error else ""
                return ReportEvidence(attempt=case.attempt.model_copy(update={"error": error}))
        return ReportEvidence(
            attempt=observed.attempt,
            cases=tuple(_report_case(name, given, case) for (name, given), case in pairs),
            definitions=tuple(course_definitions(scene.folder)),
        )


@probe("6.2")
class AnalysisProbe(TextProbe):
    """Read the analysis."""

    grade_id = "task-6-2"

    def evidence(self, observed: Observed, scene: Scene) -> AnalysisEvidence:
        """Read the text, and the results that it is about."""
        text, source = self.text_in(scene.folder)
        results = _results_in(scene.folder)
        return AnalysisEvidence(attempt=self.done, text=text, source=source, results=results)


def chart_pictures(made: Path) -> dict[str, bytes]:
    """Return the PNG files of a student's own charts that task 6.1's `run` left, by function."""
    pictures = {}
    for chart in CHARTS:
        try:
            data = read_bytes(made / f"{chart.function}.png", MAX_PICTURE_BYTES)
        except ExchangeError:
            continue
        if data.startswith(_PNG):
            pictures[chart.function] = data
    return pictures


def _made_up(seed: int) -> dict[str, Results]:
    """Return the made-up results by file name, in the order of MADE_UP."""
    return {
        name: made_up_results(seed + offset, emulated=name == EMULATION)
        for offset, name in enumerate(MADE_UP)
    }


def _results_in(folder: Path) -> Results:
    """Return the student's results; as `artifact` does, provided ones if they are unusable."""
    path, is_provided = find_artifact("results.json", folder)
    if not is_provided:
        try:
            results = read_model(path, Results)
        except ExchangeError:
            results = None
        if results is not None and results.complete:
            return results
    with of_the_course("The provided results.json"):
        return read_results(provided("results.json"))


def _case(names: Names, results: Results, made: Path | None) -> CaseObserved:
    """Run the student's functions; save their charts in `made`."""
    stage, report = attempt("make_report", lambda: _report(names["make_report"](results)))
    return CaseObserved(
        attempt=stage,
        report=report or {},
        charts={chart.function: _chart(names, chart.function, results, made) for chart in CHARTS},
    )


def _report(returned: Any) -> dict[str, Any]:
    if not isinstance(returned, Mapping):
        raise TypeError(f"it must return a dict, and returned {type(returned).__name__}")
    return dict(plain(returned))


def _chart(names: Names, function: str, results: Results, made: Path | None) -> ChartFacts:
    draw: Callable[[Results], Any] | None = names.get(function)
    if not callable(draw):
        return ChartFacts(attempt=missing(function))
    stage, figure = attempt(function, lambda: draw(results))
    if not isinstance(figure, Figure):
        return ChartFacts(attempt=stage, returned=type(figure).__name__)
    # A figure that cannot be read or drawn is the student's to repair.
    stage, facts = attempt(function, lambda: _facts(stage, figure))
    if made is not None:
        attempt(function, lambda: _save(figure, made / f"{function}.png"))
    return facts or ChartFacts(attempt=stage, returned="Figure")


def _facts(stage: Attempt, figure: Figure) -> ChartFacts:
    return ChartFacts(
        attempt=stage,
        returned="Figure",
        labels=[label[:LONGEST_TEXT] for label in axis_labels(figure)[:MOST_TEXTS]],
        texts=[text[:LONGEST_TEXT] for text in written(figure)[:MOST_TEXTS]],
        values=drawn(figure)[:MOST_VALUES],
    )


def _save(figure: Figure, path: Path) -> None:
    """Save a figure as PNG, unless it is larger than anybody would show."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=PICTURE_DPI, bbox_inches="tight")
    if len(buffer.getvalue()) <= MAX_PICTURE_BYTES:
        path.write_bytes(buffer.getvalue())


def _report_case(name: str, results: Results, case: CaseObserved) -> ReportCase:
    """Return a case for the check; what a kernel wrote is made plain once more."""
    absent = {chart.function: ChartFacts(attempt=missing(chart.function)) for chart in CHARTS}
    return ReportCase(
        name=name,
        results=results,
        attempt=case.attempt,
        report=plain(case.report),
        charts={function: case.charts.get(function, facts) for function, facts in absent.items()},
    )


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: keys as text, NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, int | float):
        return value if _is_figure(value) else str(value)[:LONGEST_TEXT]
    return f"a {type(value).__name__}"


def _is_figure(value: int | float) -> bool:
    """Return whether a number is finite and fits a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


@contextmanager
def _undisplayed() -> Iterator[None]:
    """Keep what the student's functions print and draw out of the card's cell."""
    before = set(plt.get_fignums())
    with capture_output(stdout=True, stderr=False, display=True):
        yield
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
