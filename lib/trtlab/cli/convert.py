"""`trtlab convert-to-onnx`, `convert-to-tensorrt` and `inspect`: making engines, looking inside."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from trtlab.cli.console import JsonFlag, WorkloadOption, out, print_json, report_skipped, say
from trtlab.errors import BuildError


def convert_to_onnx(
    model: Annotated[
        str,
        typer.Option(
            help="resnet50 (the workload's own; without a GPU the digits have a slim one), "
            "resnet50-slim, or the path of a weights file (.safetensors, .pt)."
        ),
    ] = "resnet50",
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")] = Path(
        "runs/model.onnx"
    ),
    batch_size: Annotated[int, typer.Option(min=1, help="Batch size of a fixed-batch model.")] = 1,
    dynamic_batch: Annotated[
        bool,
        typer.Option(
            "--dynamic-batch/--fixed-batch",
            help="Leave the batch open, to be bounded by the engine's optimization profile.",
        ),
    ] = True,
    opset: Annotated[
        int, typer.Option(help="ONNX operator set; 17 suits TensorRT 8.6 and 10.")
    ] = 17,
    simplify: Annotated[
        bool, typer.Option("--simplify/--no-simplify", help="Run onnxsim on the result.")
    ] = True,
    workload: WorkloadOption = "auto",
    json: JsonFlag = False,
) -> None:
    """Export a PyTorch model to ONNX, simplify it, and compare its outputs with PyTorch's.

    Example: trtlab convert-to-onnx --model resnet50 --output runs/resnet50.onnx --dynamic-batch
    """
    from trtlab import pipeline
    from trtlab.files import sha256

    chosen = pipeline.workload_with_model(workload, model)
    conversion = pipeline.convert_to_onnx(
        chosen.load_model(),
        output,
        input_shape=chosen.input_shape,
        batch_size=batch_size,
        dynamic_batch=dynamic_batch,
        opset=opset,
        simplify=simplify,
    )
    nodes = conversion.simplified
    summary = {
        "onnx": str(output),
        "sha256": sha256(output),
        "bytes": output.stat().st_size,
        "model": chosen.arch,
        "opset": opset,
        "dynamic_batch": dynamic_batch,
        "nodes": [nodes.nodes_before, nodes.nodes_after] if nodes else None,
        "max_abs_error_vs_pytorch": conversion.max_abs_error,
    }
    if json:
        print_json(summary)
        return
    say(f"Wrote {output}: {chosen.arch}, {output.stat().st_size / 1e6:.1f} MB, opset {opset}")
    if nodes:
        say(f"Nodes: {nodes.nodes_before} exported, {nodes.nodes_after} simplified")
    for batch, error in conversion.max_abs_error.items():
        say(f"Largest difference from PyTorch at batch {batch}: {error:.1e}")


def convert_to_tensorrt(
    onnx: Annotated[Path, typer.Option(help="ONNX model to build from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Engine file to write.")],
    precision: Annotated[
        str,
        typer.Option(help="fp32, tf32, fp16 or int8 (permits fp16 too). Layers may stay in fp32."),
    ] = "fp16",
    max_batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Largest batch of the profile. Default: 32, or the fixed batch."),
    ] = None,
    opt_batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Batch the tactics are tuned for. Default: 8, or the largest."),
    ] = None,
    workspace_size: Annotated[
        int, typer.Option(min=1, help="Scratch memory that tactics may use, in MiB.")
    ] = 2048,
    calibration_data: Annotated[
        Path | None,
        typer.Option(help="INT8: folder of representative images, flat or one folder a class."),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="INT8: how many of them to use.")
    ] = 512,
    calibration_batch_size: Annotated[
        int, typer.Option(min=1, help="INT8: images in each calibration batch.")
    ] = 32,
    calibration_cache: Annotated[
        Path | None,
        typer.Option(
            help="INT8: cache to use in place of images if it is there, else to write. Default: "
            "write one beside the engine."
        ),
    ] = None,
    calibrator: Annotated[str, typer.Option(help="INT8: entropy, or minmax.")] = "entropy",
    layer_precision: Annotated[
        list[str] | None,
        typer.Option(help="PATTERN=PRECISION, repeatable: '/fc/*=fp16' keeps a layer out of INT8."),
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Timing cache to read and update: faster rebuilds.")
    ] = None,
    workload: WorkloadOption = "auto",
    json: JsonFlag = False,
) -> None:
    """Build a TensorRT engine from an ONNX model.

    INT8 needs data to calibrate on: trtlab prepare writes a folder for the digits workload.

    Example: trtlab convert-to-tensorrt --onnx runs/resnet50.onnx --output runs/resnet50_int8.engine
    --precision int8 --calibration-data runs/images/calibration
    """
    from trtlab import pipeline
    from trtlab.build import BuildSpec, build_engine, parse_precision
    from trtlab.calibrate import CalibrationDataset
    from trtlab.workloads import load_workload

    spec = BuildSpec(
        precision=parse_precision(precision),
        profiles=pipeline.batch_profiles(onnx, opt_batch_size, max_batch_size),
        workspace_mib=workspace_size,
        layer_precisions={
            pattern: parse_precision(value)
            for pattern, value in map(_split_layer_precision, layer_precision or ())
        },
    )
    source: AbstractContextManager[Any] = nullcontext()
    if calibration_cache is not None and calibration_cache.is_file():
        source = pipeline.calibrator_class(calibrator)(
            [], calibration_batch_size, calibration_cache
        )
    elif calibration_data is not None:
        images = CalibrationDataset(
            calibration_data, load_workload(workload).preprocess, limit=calibration_images
        )
        report_skipped(images.skipped)
        source = pipeline.fresh_calibration(
            calibrator,
            images,
            calibration_batch_size,
            calibration_cache or output.with_suffix(".cache"),
        )
    with source as used:
        sidecar = build_engine(onnx, output, spec, calibrator=used, timing_cache=timing_cache)
    if json:
        print_json(sidecar.model_dump(mode="json"))
        return
    for warning in sidecar.warnings:
        print("Warning: " + " ".join(warning.split()), file=sys.stderr)
    say(f"Wrote {output} ({sidecar.engine_bytes / 1e6:.1f} MB) in {sidecar.build_seconds:.1f} s")
    say(f"Built by TensorRT {sidecar.tensorrt_version} on {sidecar.gpu or 'the CPU emulation'}")


def _split_layer_precision(text: str) -> tuple[str, str]:
    pattern, separator, value = text.rpartition("=")
    if not separator or not pattern:
        raise BuildError(
            f"--layer-precision is {text!r}; it must be PATTERN=PRECISION, such as '/fc/*=fp16'."
        )
    return pattern, value


def inspect(
    engine: Annotated[Path, typer.Argument(help="Engine file to look into.")],
    json: JsonFlag = False,
) -> None:
    """Show what is inside an engine: layers, precisions, fusions, profiles and memory."""
    from trtlab.inspect import inspect_engine

    report = inspect_engine(engine)
    if json:
        print_json(report.model_dump(mode="json"))
        return
    table = Table("layer", "kind", "precision", "ONNX nodes", box=None, pad_edge=False)
    for layer in report.layers:
        table.add_row(layer.name, layer.kind, layer.precision, str(len(layer.onnx_nodes)))
    out.print(table)
    counts = ", ".join(f"{count} {name}" for name, count in report.precision_counts.items())
    say(f"{len(report.layers)} layers ({counts}), {len(report.fusions)} fusions")


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command("convert-to-onnx")(convert_to_onnx)
    app.command("convert-to-tensorrt")(convert_to_tensorrt)
    app.command("inspect")(inspect)
