"""Pictures of lab 6: the student's report as tables, and their predictions beside the results."""

from collections.abc import Mapping
from html import escape
from typing import Any

import matplotlib
from IPython.display import HTML
from matplotlib.figure import Figure

from trtlab.plot_style import NOT_MEASURED, STYLE, canvas, compact, say
from trtlab.results import Results
from trtlab.targets import judged_batch


def show_report(report: Mapping[str, Any]) -> HTML:
    """Return a report as one table a section: runners down, what is known of them across."""
    sections = [_section(str(name), section) for name, section in report.items()]
    return HTML("".join(sections))


def _section(name: str, section: object) -> str:
    title = f"<h4>{escape(name)}</h4>"
    if not isinstance(section, Mapping) or not section:
        return title + f"<p>{escape(str(section)) if section else 'nothing'}</p>"
    rows = {str(runner): _flat(entry) for runner, entry in section.items()}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    head = "".join(f"<th>{escape(column)}</th>" for column in ["", *columns])
    body = "".join(
        f"<tr><th>{escape(runner)}</th>"
        + "".join(f"<td>{escape(_written(row.get(column)))}</td>" for column in columns)
        + "</tr>"
        for runner, row in rows.items()
    )
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _flat(entry: object, above: str = "") -> dict[str, object]:
    """Return nested dicts as one row, its columns named by the way down: "8 median_ms"."""
    if not isinstance(entry, Mapping):
        return {above: entry}
    row: dict[str, object] = {}
    for key, value in entry.items():
        row |= _flat(value, f"{above} {key}".strip())
    return row


def _written(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, int | float) and value >= 0:
        return compact(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def measured_speedups(results: Results) -> dict[str, float]:
    """Return what was guessed in labs 2 and 3, as measured: name of the guess -> times faster."""
    batch, baseline = judged_batch(results), results.settings.baseline
    measured = {}
    for precision in ("fp16", "int8"):
        speedup = results.speedup(f"tensorrt-{precision}", baseline, batch)
        if speedup is not None:
            measured[f"{precision.upper()} speed-up"] = speedup.speedup
    return measured


def show_speedup_predictions(results: Results) -> Figure:
    """Draw the guesses of labs 2 and 3 beside the results; emulated results settle none."""
    from trtlab.lab.predictions import show_predictions

    measured = measured_speedups(results)
    if measured:
        return show_predictions(measured)
    with matplotlib.rc_context(STYLE):
        figure = canvas(results, "Your predictions of the speed-up", 8.2, 1.2)
        say(figure, NOT_MEASURED if results.emulated else "no speed-up was measured")
    return figure
