"""Pictures of lab 6: the student's report as tables, and their predictions beside the results."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import matplotlib
from IPython.display import HTML
from matplotlib.figure import Figure

from trtlab.plot_style import NOT_MEASURED, STYLE, canvas, compact, say
from trtlab.results import Results
from trtlab.targets import judged_batch

TITLES = {
    "model_sizes": "model_sizes (MiB)",
    "latency": "latency (ms per call)",
    "throughput": "throughput (images per second)",
    "accuracy": "accuracy (%, change in percentage points)",
    "speedup": "speedup (times faster than the baseline)",
    "memory": "memory (MiB on the GPU)",
}


def show_report(report: Mapping[str, Any], results: Results) -> HTML:
    """Return a report as one table a section, under the badge of the results if they have one."""
    badge = f"<p><b>{escape(results.badge)}</b></p>" if results.badge else ""
    return HTML(badge + "".join(_section(str(name), section) for name, section in report.items()))


def _section(name: str, section: object) -> str:
    title = f"<h4>{escape(TITLES.get(name, name))}</h4>"
    if not isinstance(section, Mapping) or not section:
        return title + f"<p>{escape(str(section)) if section else 'nothing'}</p>"
    rows = {row: cells for runner, entry in section.items() for row, cells in _rows(runner, entry)}
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    head = "".join(f"<th>{escape(column)}</th>" for column in ["", *columns])
    body = "".join(
        f"<tr><th>{escape(row)}</th>"
        + "".join(f"<td>{escape(_written(cells.get(column)))}</td>" for column in columns)
        + "</tr>"
        for row, cells in rows.items()
    )
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _rows(runner: object, entry: object) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the rows of one runner: one, or or one for each batch size where these differ."""
    if not isinstance(entry, Mapping):
        yield str(runner), {"": entry}
    elif any(isinstance(inner, Mapping) for inner in entry.values()):
        for batch, inner in entry.items():
            yield f"{runner}, batch {batch}", dict(inner)
    else:
        yield str(runner), {_column(key): value for key, value in entry.items()}


def _column(key: object) -> str:
    return f"batch {key}" if isinstance(key, int) else str(key)


def _written(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, int | float):
        return compact(value) if value > 0 else f"{value:.3g}"
    return str(value)


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
