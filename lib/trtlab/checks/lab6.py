"""Pre-checks of lab 6: what a machine can say about the report and the analysis.

Both tasks are graded by hand; the points are a suggestion to whoever does that.
"""

from trtlab.checks.analysis6 import (
    FEWEST_FIGURES,
    FEWEST_WORDS,
    QUESTIONS,
    answers,
    mentions_interval,
    mentions_tail,
    own_figures,
    says_where,
    words,
)
from trtlab.checks.charts6 import (
    BADGE_DROPPED,
    CHARTS,
    Chart,
    has_badge,
    problem_of,
    typed_in,
)
from trtlab.checks.evidence6 import AnalysisEvidence, ReportCase, ReportEvidence
from trtlab.checks.findings import expect
from trtlab.checks.misconceptions import misconception
from trtlab.checks.registry import check
from trtlab.checks.report6 import (
    EMULATED_SPEEDUP,
    SECTIONS,
    TYPED_IN,
    Place,
    claimed_speedups,
    figures_of,
    found,
    likely_mistake,
    same,
)
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding

BUDGET_BY_MEAN = misconception(
    "budget-by-mean",
    "A latency budget is met by the typical call",
    "A budget of 5 ms is a promise about nearly every call. An engine whose median is 4.8 ms may "
    "break it several times in a hundred: the tail decides, not the middle.",
)
POINT_ESTIMATE = misconception(
    "point-estimate",
    "A difference in accuracy without its uncertainty",
    "On a few hundred images, one image more or less is a third of a point. Whether a loss of 0.5 "
    "meets a limit of 1 depends on how many images it was seen on: say how sure you are.",
)
NO_ORIGIN = misconception(
    "numbers-without-origin",
    "Numbers without the machine they come from",
    "The same engine is ten times as fast on another GPU, and on the emulation its time says "
    "nothing at all. Without the machine, none of your figures can be checked or compared.",
)

_GROUPS = {
    "sizes and memory": ("model_sizes", "memory"),
    "latency and throughput": ("latency", "throughput"),
    "accuracy": ("accuracy",),
    "speed-up": ("speedup",),
}


@check("6.1")
def report(evidence: ReportEvidence) -> list[Finding]:
    """Sections, figures, charts, the badge, and docstrings throughout the course."""
    return [
        _sections(evidence.cases),
        *(_figures(evidence.cases, name, sections) for name, sections in _GROUPS.items()),
        *(_chart(evidence.cases, chart) for chart in CHARTS),
        _badge(evidence.cases),
        _docstrings(evidence),
    ]


def _sections(cases: tuple[ReportCase, ...]) -> Finding:
    present = [name for name in SECTIONS if all(name in case.report for case in cases)]
    absent = [name for name in SECTIONS if name not in present]
    return expect(
        "the report has its six sections",
        not absent,
        0.5,
        measured=f"missing: {', '.join(absent)}" if absent else ", ".join(present),
        required=", ".join(SECTIONS),
        next_step="Return a dict with these keys; the docstring says what stands under each.",
    )


def _figures(cases: tuple[ReportCase, ...], group: str, sections: tuple[str, ...]) -> Finding:
    """Compare all figures of some sections; a figure is wrong, or claimed without measurement."""
    right, wrong = 0, []
    for case in cases:
        for path, measured in figures_of(case.results).items():
            if path[0] not in sections:
                continue
            if same(found(case.report, path), measured):
                right += 1
            else:
                wrong.append((case, path, measured))
    claimed = [(c, path) for c in cases if "speedup" in sections for path in claimed_speedups(c)]
    total = right + len(wrong) + len(claimed)
    ok = not wrong and not claimed and all(s in c.report for c in cases for s in sections)
    return expect(
        f"{group}: the results' figures",
        ok,
        0.25,
        measured=f"{right} of {total} figures agree" + _first_wrong(wrong, claimed),
        required="all, rounded at most to the hundredth",
        next_step="Take every figure from `results`; the docstring says which, and in what unit.",
        misconception=_mistake(cases, wrong, bool(claimed)),
    )


def _first_wrong(
    wrong: list[tuple[ReportCase, Place, float | None]], claimed: list[tuple[ReportCase, Place]]
) -> str:
    if claimed:
        case, path = claimed[0]
        return f"; on {case.name}, {_written(path)} gives {found(case.report, path)}"
    if not wrong:
        return ""
    case, path, measured = wrong[0]
    said = found(case.report, path)
    holds = "nothing" if measured is None else f"{measured:.4g}"
    return f"; on {case.name}, {_written(path)} is {_short(said)}, where the results hold {holds}"


def _written(path: Place) -> str:
    return f"report{''.join(f'[{key}]' for key in path)}"


def _short(said: object) -> str:
    return f"{said:.4g}" if isinstance(said, float) else "missing" if said is None else repr(said)


def _mistake(
    cases: tuple[ReportCase, ...],
    wrong: list[tuple[ReportCase, Place, float | None]],
    claimed: bool,
) -> str | None:
    if claimed:
        return EMULATED_SPEEDUP
    reports = [case.report for case in cases]
    if wrong and len(reports) > 1 and all(other == reports[0] for other in reports[1:]):
        return TYPED_IN
    recognised = (likely_mistake(case, path, measured) for case, path, measured in wrong)
    return next((key for key in recognised if key), None)


def _chart(cases: tuple[ReportCase, ...], chart: Chart) -> Finding:
    criterion = f"{chart.function}: {chart.shows}"
    facts = [case.charts[chart.function] for case in cases]
    if any(fact.attempt.stage in ("missing", "not started") for fact in facts):
        return Finding(
            criterion=criterion,
            state="not started",
            points=0,
            max_points=0.5,
            measured="not written yet",
            required="a figure with labelled axes, units and a legend",
            next_step="Write it in the cell of task 6.1. The first hint says how to begin.",
        )
    problems = [problem_of(chart, case, fact) for case, fact in zip(cases, facts, strict=True)]
    problem = next((p for p in problems if p is not None), None)
    likely = (typed_in(cases, chart.function) or problem.misconception) if problem else None
    return expect(
        criterion,
        problem is None,
        0.5,
        measured=problem.what if problem else f"as it should, on {len(cases)} results files",
        required="every figure, axes with units, a legend or labels",
        next_step=problem.next_step if problem else "",
        misconception=likely,
    )


def _badge(cases: tuple[ReportCase, ...]) -> Finding:
    without = {
        name
        for case in cases
        for name, facts in case.charts.items()
        if facts.returned == "Figure" and not has_badge(case, facts)
    }
    drawn = all(facts.returned == "Figure" for case in cases for facts in case.charts.values())
    return expect(
        "charts of emulated results carry the badge",
        drawn and not without,
        0.25,
        measured=f"not on {', '.join(sorted(without))}" if without else _drawn(drawn),
        required="results.badge, on all four",
        next_step="Where `results.badge` is not None, write it on the figure: `figure.suptitle`, "
        "`figure.text` or a title.",
        misconception=BADGE_DROPPED if without else None,
    )


def _drawn(drawn: bool) -> str:
    return "on all of them" if drawn else "not all four charts are there"


def _docstrings(evidence: ReportEvidence) -> Finding:
    written = [d for d in evidence.definitions if not d.unwritten]
    bare = [f"{d.name} ({d.notebook})" for d in written if not d.documented]
    notebooks = {d.notebook for d in written}
    return expect(
        "functions and classes have docstrings, in all notebooks",
        bool(written) and not bare,
        0.25,
        measured=_bare(bare) if bare else f"{len(written)} of them in {len(notebooks)} notebooks",
        required="each one",
        next_step="Say in a sentence or two what each does, with units and shapes, and save the "
        "notebook: docstrings are read from the file.",
    )


def _bare(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"none on {', '.join(names[:3])}{rest}"


@check("6.2")
def analysis(evidence: AnalysisEvidence) -> list[Finding]:
    """The six answers, the student's own figures in them, and three signs of care."""
    if not evidence.text:
        return [_unanswered(evidence)]
    parts = answers(evidence.text)
    return [
        *(_answer(heading, parts[heading]) for heading in QUESTIONS),
        _own_figures(evidence),
        _sign(
            "the deployment argues with the tail", 0.5, mentions_tail(parts["Deployment"]),
            "a high percentile of the latency",
            "Hold the p99 against the budget, not the middle.", BUDGET_BY_MEAN,
        ),
        _sign(
            "the accuracy comes with its uncertainty", 0.5, mentions_interval(parts["Accuracy"]),
            "an interval, or what else says how sure you are",
            "The results hold a 95 % interval for each change in top-1.", POINT_ESTIMATE,
        ),
        _sign(
            "the text says where its numbers come from", 1,
            says_where(evidence.text, evidence.results),
            "the GPU's name, or that the times are emulated",
            "Name the machine once, at the top or in the first answer.", NO_ORIGIN,
        ),
    ]  # fmt: skip


def _unanswered(evidence: AnalysisEvidence) -> Finding:
    return Finding(
        criterion="an analysis is written",
        state="not started",
        points=0,
        max_points=TASKS["6.2"].points,
        measured=f"no answer in {evidence.source}",
        required=f"answers under the headings {', '.join(QUESTIONS)}",
        next_step="Write your answers into the cell of task 6.2 and save the notebook.",
    )


def _answer(heading: str, text: str) -> Finding:
    count = words(text)
    return expect(
        f"under “{heading}”: {QUESTIONS[heading]}",
        count >= FEWEST_WORDS,
        0.5,
        measured=f"{count} words" if text else "no such heading",
        required=f"{FEWEST_WORDS} words at least",
        next_step=f"Write a heading `### {heading}` and your answer below it, then save the "
        "notebook.",
    )


def _own_figures(evidence: AnalysisEvidence) -> Finding:
    """Say which figures are the student's own; without points, since a text outlives a file.

    Where the notebook is run again, on other results, its figures are those of the first run.
    """
    quoted = own_figures(evidence.text, evidence.results)
    shown = f": {', '.join(quoted[:FEWEST_FIGURES])}" if quoted else ""
    enough = len(quoted) >= FEWEST_FIGURES
    return Finding(
        criterion="the arguments rest on your own figures",
        state="pass" if enough else "inconclusive" if quoted else "fail",
        points=0,
        max_points=0,
        measured=f"{len(quoted)} numbers of the text stand in the results{shown}",
        required=f"{FEWEST_FIGURES} at least",
        next_step="" if enough else "Quote what you measured, with units, as your report has it.",
    )


def _sign(
    criterion: str, points: float, there: bool, required: str, next_step: str, likely: str
) -> Finding:
    return expect(
        criterion,
        there,
        points,
        measured="it does" if there else "not found",
        required=required,
        next_step=next_step,
        misconception=likely,
    )
