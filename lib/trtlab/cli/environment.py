"""`trtlab doctor`, `trtlab prepare` and `trtlab train`: getting ready."""

from pathlib import Path
from typing import Annotated, cast

import typer

from trtlab.cli.console import JsonFlag, WorkloadOption, print_findings, print_json, say


def doctor(json: JsonFlag = False) -> None:
    """Show what is here, what is missing and how to get it.

    Exits with 1 if something is missing without which the labs do not run. Without a GPU they run
    on the emulation, so a missing GPU is only noted.
    """
    from trtlab.doctor import examine

    findings = examine()
    if json:
        print_json([finding.model_dump() for finding in findings])
    else:
        print_findings(findings)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def prepare(
    workload: WorkloadOption = "auto",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the sample images.")
    ] = Path("runs/images"),
    images: Annotated[
        int, typer.Option(min=1, help="Images in each of the two folders that are written.")
    ] = 128,
    json: JsonFlag = False,
) -> None:
    """Fetch or train the model and write sample images to work with.

    Writes two class-per-folder directories: OUTPUT/calibration, for --calibration-data, and
    OUTPUT/validation, for infer --input. With a GPU, the digits workload trains a full ResNet-50
    once (under a minute on a data-centre GPU) and keeps it in the cache folder.
    """
    from trtlab.data import Pictures, Split, write_image_folder
    from trtlab.workloads import load_workload

    written: tuple[Split, ...] = ("calibration", "validation")
    chosen = load_workload(workload)
    chosen.load_model()
    folders = {
        split: write_image_folder(
            # Every workload's data sets give their pictures as well as tensors.
            cast(Pictures, chosen.dataset(split, size=images)),
            chosen.classes,
            output / split,
        )
        for split in written
    }
    if json:
        paths = {split: str(folder) for split, folder in folders.items()}
        print_json({"workload": chosen.name, "model": chosen.arch, **paths})
        return
    say(f"Model ready: {chosen.arch} for {chosen.name}, {len(chosen.classes)} classes")
    for split, folder in folders.items():
        say(f"{images} {split} images in {folder}")


def train(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Weights file to write (.safetensors).")
    ],
    workload: WorkloadOption = "auto",
    arch: Annotated[
        str | None, typer.Option(help="resnet50 or resnet50-slim. Default: the workload's own.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Batches to train on. Default: the recipe's.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda or cpu. Default: the GPU if there is one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the weights and the pictures.")] = 0,
    validation_images: Annotated[
        int | None, typer.Option(min=1, help="Fresh images to validate on. Default: 2,000.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Train a workload's model: the recipe that made the shipped weights.

    Example: trtlab train --workload digits --arch resnet50-slim --output runs/slim.safetensors
    """
    from trtlab.training import train_workload_model
    from trtlab.workloads import load_workload

    chosen = load_workload(workload, arch=arch)
    facts = train_workload_model(
        chosen,
        output,
        device=device,
        steps=steps,
        seed=seed,
        validation_size=validation_images,
    )
    if json:
        print_json(facts)
        return
    say(f"Wrote {output}: {chosen.arch}, {facts['training_seconds']} s on {facts['device']}")
    say(f"Top-1 {facts['top1']} % on {facts['validation_images']} fresh validation images")


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (doctor, prepare, train):
        app.command()(command)
