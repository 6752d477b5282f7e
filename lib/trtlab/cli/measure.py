"""`trtlab infer`, `benchmark` and `visualize`: running engines and showing what they bought."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from trtlab.cli.console import JsonFlag, WorkloadOption, out, print_json, say


def infer(
    engine: Annotated[Path, typer.Option(help="Engine file.")],
    input: Annotated[
        Path, typer.Option("--input", "-i", help="An image, a folder of images, or a .npy array.")
    ],
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per call. Default: the profile's largest.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file for the predictions.")
    ] = None,
    workload: WorkloadOption = "auto",
    json: JsonFlag = False,
) -> None:
    """Classify images with an engine and print the five likeliest classes of each.

    A .npy file holds preprocessed float32 values, (3, H, W) or (N, 3, H, W).

    Example: trtlab infer --engine runs/resnet50_fp16.engine --input runs/images/validation
    """
    from trtlab.files import write_text
    from trtlab.predict import Prediction, predict, to_json
    from trtlab.workloads import load_workload

    predictions: list[Prediction] = predict(engine, input, load_workload(workload), batch_size)
    if output:
        write_text(output, to_json(predictions))
    if json:
        print_json([prediction.model_dump() for prediction in predictions])
        return
    table = Table("input", "top-5 (probability)", box=None, pad_edge=False)
    for prediction in predictions:
        likeliest = ", ".join(f"{item.label} ({item.probability:.3f})" for item in prediction.top5)
        table.add_row(prediction.source, likeliest)
    out.print(table)
    if output:
        say(f"Wrote {output}")


def benchmark(
    ctx: typer.Context,
    pytorch_model: Annotated[
        str, typer.Option(help="Baseline: resnet50, resnet50-slim or a weights file.")
    ] = "resnet50",
    trt_engines: Annotated[
        Path, typer.Option(help="An engine file, or a folder whose *.engine files are measured.")
    ] = Path("runs/demo"),
    batch_sizes: Annotated[
        list[str] | None, typer.Option(help="Batch sizes, as in --batch-sizes 1 4 8 16.")
    ] = None,
    more_batch_sizes: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    iterations: Annotated[int, typer.Option(min=2, help="Timed calls per batch size.")] = 100,
    warmup: Annotated[int, typer.Option(min=0, help="Calls before the stopwatch starts.")] = 10,
    images: Annotated[
        int, typer.Option(min=1, help="Fresh validation images for the accuracy.")
    ] = 1000,
    duration: Annotated[
        float, typer.Option(min=0.1, help="Seconds of each throughput measurement.")
    ] = 3.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Results file to write.")] = Path(
        "runs/results.json"
    ),
    workload: WorkloadOption = "auto",
    json: JsonFlag = False,
) -> None:
    """Measure latency, throughput, memory, size and accuracy of engines against PyTorch.

    Times are host to host: from a NumPy array to a NumPy array, copies included. Speed-ups are
    medians of interleaved pairs with a 95 % interval.

    Example: trtlab benchmark --pytorch-model resnet50 --trt-engines runs/demo
    --batch-sizes 1 4 8 16 --iterations 100 --warmup 10 --output runs/results.json
    """
    from trtlab import pipeline
    from trtlab.report import print_report
    from trtlab.results import BenchmarkSettings, write_results

    sizes = _batch_sizes(batch_sizes, more_batch_sizes)
    engines = pipeline.find_engines(trt_engines)
    chosen = pipeline.workload_with_model(workload, pytorch_model)
    settings = BenchmarkSettings(
        batch_sizes=tuple(sizes), iterations=iterations, warmup=warmup, throughput_s=duration
    )
    results = pipeline.measure(
        chosen,
        chosen.load_model(),
        engines,
        settings,
        images=images,
        save=lambda partial: write_results(output, partial),
    )
    if json:
        print_json(results.model_dump(mode="json"))
        return
    print_report(results, out)
    say(f"Wrote {output}. For figures: trtlab visualize --results {output}")


def _batch_sizes(option: list[str] | None, more: list[str] | None) -> list[int]:
    """Read `--batch-sizes 1 4 8` and `1,4,8` alike; of the first the parser leaves 4 and 8 over."""
    if more and not option:
        raise typer.BadParameter(f"unexpected argument {more[0]!r}")
    words = [
        word for text in [*(option or ["1,4,8,16"]), *(more or [])] for word in text.split(",")
    ]
    try:
        sizes = sorted({int(word) for word in words})
    except ValueError:  # no number, or of more digits than Python reads
        sizes = [0]
    if sizes[0] < 1:
        raise typer.BadParameter(
            f"--batch-sizes takes whole numbers above 0; got {' '.join(words)}"
        )
    return sizes


def visualize(
    results: Annotated[Path, typer.Option(help="Results file of trtlab benchmark.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the figures and report.html."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Draw the figures (PNG and SVG) and a self-contained report.html from a results file.

    Example: trtlab visualize --results runs/results.json --output runs/plots
    """
    from trtlab.plots import save_figures
    from trtlab.report import write_html
    from trtlab.results import read_results

    loaded = read_results(results)
    folder = output or results.parent / "plots"
    figures = save_figures(loaded, folder)
    report = write_html(loaded, folder / "report.html")
    if json:
        print_json({"report": str(report), "figures": [str(path) for path in figures]})
        return
    say(f"Wrote {len(figures)} figures to {folder}")
    say(f"Report: {report}")


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (infer, benchmark, visualize):
        app.command()(command)
