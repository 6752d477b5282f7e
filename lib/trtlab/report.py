"""Tables of a benchmark run, for the terminal, for Markdown, and as one self-contained HTML page.

The same `Table` objects feed all three, so that no two of them can say different things. Charts
come from `trtlab.plots`; nothing is measured or judged here.
"""

import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from trtlab.files import write_text
from trtlab.plot_style import NOT_MEASURED, compact
from trtlab.plots import FIGURES, deployed_bytes, inline_svg
from trtlab.results import Results, RunnerResult, TargetVerdict

NONE = "–"

_VERDICT_STYLES = {
    "pass": "green",
    "fail": "red",
    "inconclusive": "yellow",
    "not applicable": "dim",
}


@dataclass(frozen=True)
class Table:
    """A table of text cells; the first `left` columns are words, the rest figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    caption: str = ""


def tables(results: Results) -> list[Table]:
    """Return every table of the report, in order; each of an emulated run carries the badge."""
    return [
        speed_table(results),
        model_table(results),
        targets_table(results),
        machine_table(results),
    ]


def speed_table(results: Results) -> Table:
    """Latency, throughput and speed-up per runner and batch size."""
    baselines = [r.name for r in results.runners if r.kind == "pytorch"]
    rows = []
    for runner in results.runners:
        for entry in runner.batches:
            speedups = (_speedup(results, runner, name, entry.batch_size) for name in baselines)
            rows.append(
                (
                    runner.name,
                    str(entry.batch_size),
                    compact(entry.latency.median_ms),
                    compact(entry.latency.p99_ms),
                    compact(entry.throughput.images_per_s),
                    *speedups,
                )
            )
    return Table(
        title="Speed",
        columns=(
            "Runner",
            "Batch",
            "Median ms",
            "p99 ms",
            "Images/s",
            *(f"Speed-up over {name}" for name in baselines),
        ),
        rows=tuple(rows),
        caption=results.badge or "Speed-up: median of paired ratios [95 % interval]",
    )


def _speedup(results: Results, runner: RunnerResult, baseline: str, batch_size: int) -> str:
    if runner.kind == "pytorch":
        return NONE
    if results.emulated:
        return NOT_MEASURED
    found = results.speedup(runner.name, baseline, batch_size)
    return f"{found.speedup:.2f}x [{found.low:.2f}, {found.high:.2f}]" if found else NONE


def model_table(results: Results) -> Table:
    """Accuracy, size, GPU memory and build time per runner."""
    rows = []
    for runner in results.runners:
        accuracy, change, size = runner.accuracy, runner.accuracy_change, deployed_bytes(runner)
        rows.append(
            (
                runner.name,
                f"{accuracy.top1:.2f}" if accuracy else NONE,
                f"{change.points:+.2f} [{change.low:+.2f}, {change.high:+.2f}]" if change else NONE,
                f"{accuracy.top5:.2f}" if accuracy else NONE,
                compact(size / 2**20) if size else NONE,
                NONE if runner.gpu_memory_mib is None else compact(runner.gpu_memory_mib),
                NONE if runner.build_seconds is None else compact(runner.build_seconds),
            )
        )
    return Table(
        title="Accuracy and size",
        columns=(
            "Runner",
            "Top-1 %",
            "Top-1 change, points",
            "Top-5 %",
            "Size MiB",
            "GPU memory MiB",
            "Build s",
        ),
        rows=tuple(rows),
        caption=results.badge
        or f"Change against {results.settings.baseline}, same images [95 % interval]",
    )


def targets_table(results: Results) -> Table:
    """The course's targets, what was measured, and whether they are met."""
    rows = []
    for target in results.targets:
        batch = f" at batch {target.batch_size}" if target.batch_size else ""
        sign, unit = ("≤", "") if target.quantity == "accuracy loss" else ("≥", "x")
        rows.append(
            (
                target.runner,
                target.quantity,
                f"{target.against}{batch}",
                f"{sign} {target.required:g}{unit}",
                _measured(target, unit),
                target.verdict,
                target.reason,
            )
        )
    return Table(
        title="Targets",
        columns=("Runner", "Target", "Against", "Required", "Measured", "Verdict", "Why"),
        rows=tuple(rows),
        left=7,
        caption=results.badge or "Inconclusive: the 95 % interval spans what is required",
    )


def _measured(target: TargetVerdict, unit: str) -> str:
    if target.measured is None or target.low is None or target.high is None:
        return NONE
    if target.low == target.high:
        return f"{target.measured:.2f}{unit}"
    return f"{target.measured:.2f}{unit} [{target.low:.2f}, {target.high:.2f}]"


def machine_table(results: Results) -> Table:
    """Where and with what it ran."""
    machine, gpu = results.machine, results.machine.gpu
    facts: list[tuple[str, object]] = [("GPU", gpu.name if gpu else "none")]
    if gpu:
        facts += [
            ("Compute capability", gpu.compute_capability),
            ("Driver", f"{gpu.driver} (CUDA {gpu.cuda_driver})"),
            ("GPU memory", gpu.memory_mib and f"{gpu.memory_mib:,} MiB"),
            ("SM clock, of maximum", f"{gpu.sm_clock_mhz} of {gpu.sm_clock_max_mhz} MHz"),
            ("Memory clock", gpu.memory_clock_mhz and f"{gpu.memory_clock_mhz} MHz"),
            ("Temperature", gpu.temperature_c and f"{gpu.temperature_c} °C"),
            ("Power, of limit", f"{gpu.power_w} of {gpu.power_limit_w} W"),
        ]
    facts += [
        ("CPU", f"{machine.cpu} ({machine.cpu_cores} cores)"),
        ("System", machine.system),
        ("Backend", machine.backend),
        ("TF32 in PyTorch by default", _tf32(machine.tf32_convolutions, machine.tf32_matmuls)),
        *((package, version) for package, version in machine.versions.items()),
        ("Measured at", machine.time.strftime("%Y-%m-%d %H:%M UTC")),
    ]
    return Table(
        title="Machine",
        columns=("Fact", "Value"),
        rows=tuple((name, NONE if value is None else str(value)) for name, value in facts),
        left=2,
        caption=results.badge or "",
    )


def _tf32(convolutions: bool, matmuls: bool) -> str:
    on = {True: "on", False: "off"}
    return f"convolutions {on[convolutions]}, matrix products {on[matmuls]}"


def method(results: Results) -> list[str]:
    """Return how it was measured, one sentence or two per point."""
    settings, workload = results.settings, results.workload
    points = [
        "Stopwatch: host to host, from a NumPy array to a NumPy array. The copies in and out are "
        "inside, so these are not trtexec's GPU compute times.",
        f"Latency: {settings.warmup} warm-up calls, then {settings.iterations} timed ones"
        + (
            f", fewer but never below 10 where they took more than {settings.max_seconds:g} s"
            if settings.max_seconds
            else ""
        )
        + ". Random inputs rotate, so that nothing can be answered from a cache. Percentiles are "
        "trtexec's: always one of the measured values.",
        f"Throughput: calls back to back, one at a time, for {settings.throughput_s:g} s.",
        f"Speed-up: {NOT_MEASURED}."
        if results.emulated
        else f"Speed-up: {settings.pairs} pairs of calls in turn and in random order; the median "
        "of their ratios with a 95 % bootstrap interval.",
        "PyTorch: eager mode. fp32 forbids TF32, tf32 allows it; PyTorch's own default allows it "
        "in convolutions. A speed-up over one is a different number than over the other.",
        f"Accuracy: {workload.images:,} images of {workload.name}, split {workload.split}, seed "
        f"{workload.seed}. Changes are paired on the same images, with Tango's 95 % interval."
        if workload.images
        else "Accuracy: left out of this run.",
        "GPU memory: what opening a runner and running its largest batch added, by NVML.",
    ]
    if clock := _clock_check(results):
        points.append(clock)
    if not results.complete:
        points.append("The run was interrupted: what is missing here was not measured.")
    return points


def _clock_check(results: Results) -> str | None:
    """Compare the CUDA events with the wall clock, at the figure where they differ most."""
    gaps = [
        (events / entry.latency.median_ms - 1, runner.name, entry.batch_size)
        for runner in results.runners
        for entry in runner.batches
        if (events := entry.latency.events_median_ms) is not None
    ]
    if not gaps:
        return None
    gap, name, batch = max(gaps, key=lambda found: abs(found[0]))
    return (
        f"Clocks: CUDA events and the wall clock differ by {gap:+.1%} at most ({name}, batch "
        f"{batch}). Events that are clearly longer would mean a call that returns too early."
    )


def rich_table(table: Table, leave_out: Container[str] = ()) -> RichTable:
    """Return `table` for a Rich console, without the columns to leave out.

    Cells are plain text, brackets are no markup, and words break only where they have a space.
    """
    rich = RichTable(
        title=Text(table.title, style="bold"),
        caption=Text(table.caption),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    kept = [index for index, column in enumerate(table.columns) if column not in leave_out]
    for index in kept:
        cells = [table.columns[index], *(row[index] for row in table.rows)]
        words = [word for cell in cells for word in cell.split()]
        rich.add_column(
            Text(table.columns[index]),
            justify="left" if index < table.left else "right",
            overflow="fold",
            min_width=max(map(len, words)),
        )
    for row in table.rows:
        cells = [row[index] for index in kept]
        rich.add_row(*(Text(cell, style=_VERDICT_STYLES.get(cell, "")) for cell in cells))
    return rich


def print_report(results: Results, console: Console | None = None) -> None:
    """Print speed, accuracy and targets; the page has the machine and the method as well.

    A narrow terminal goes without some columns, which the page has too.
    """
    console = console or Console()
    leave_out = () if console.width >= 110 else ("Why", "Top-5 %", "Build s")
    for table in (speed_table(results), model_table(results), targets_table(results)):
        if table.rows:
            console.print(rich_table(table, leave_out), crop=False)  # rather wrapped than lost
            console.print()


def markdown_table(table: Table) -> str:
    """Return `table` as GitHub-flavoured Markdown, the caption in italics below."""
    marks = [":---" if index < table.left else "---:" for index in range(len(table.columns))]
    rows = [table.columns, tuple(marks), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines + (["", f"*{table.caption}*"] if table.caption else [])) + "\n"


def markdown_report(results: Results) -> str:
    """Return all tables and the method as a Markdown document."""
    parts = [f"# {title(results)}\n"]
    if results.badge:
        parts.append(f"> **{results.badge}**\n")
    parts += [f"## {table.title}\n\n{markdown_table(table)}" for table in tables(results)]
    parts.append("## How it was measured\n\n" + "\n".join(f"- {p}" for p in method(results)) + "\n")
    return "\n".join(parts)


def title(results: Results) -> str:
    """Return the report's title."""
    return f"{results.workload.model} on {results.workload.name}: PyTorch and TensorRT"


def html_report(results: Results) -> str:
    """Return a page that needs nothing beside itself: figures and styles are inside."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trtlab"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [
        # Matplotlib has escaped the names in its own output.
        (_alternative(draw.__doc__), Markup(inline_svg(name, results)))
        for name, draw in FIGURES.items()
    ]
    return environment.get_template("report.html.j2").render(
        title=title(results),
        badge=results.badge,
        results=results,
        tables=tables(results),
        verdicts=_VERDICT_STYLES,
        figures=figures,
        method=method(results),
    )


def _alternative(docstring: str | None) -> str:
    """Return the first sentence of a figure's docstring: what a screen reader says of it."""
    return (docstring or "").split("\n")[0]


def write_html(results: Results, path: str | os.PathLike[str]) -> Path:
    """Write the self-contained page in one step. Raises: OutputError."""
    return write_text(path, html_report(results))
