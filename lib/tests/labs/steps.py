"""A probe's three steps apart, as in the grader: what `run` made is judged somewhere else."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trtlab.checks.registry import judge
from trtlab.checks.verdict import Verdict
from trtlab.lab.bench import LocalBench
from trtlab.lab.probe import Scene, evidence_of, probe_of, run_probe


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder; contextlib.chdir is not in Python 3.10."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def gave(task: str, seed: int, folder: Path) -> Path:
    """Take the first step; return the folder `given`."""
    given = folder / f"{task}-{seed}-given"
    given.mkdir(parents=True)
    probe_of(task).give(given, seed)
    return given


def ran(task: str, names: Mapping[str, Any], seed: int, folder: Path, lab: Path) -> Path:
    """Take the first two steps; return a copy of the folder `made`.

    Args:
        task: its number.
        names: the notebook's.
        seed: of the inputs.
        folder: where the steps have their folders.
        lab: the folder that the notebook works in.
    """
    given = gave(task, seed, folder)
    made, carried = (folder / f"{task}-{seed}-{name}" for name in ("made", "carried"))
    made.mkdir()
    with inside(lab):
        run_probe(task, names, given, made)
    shutil.copytree(made, carried, symlinks=True)
    shutil.rmtree(given)  # nothing that was within the kernel's reach decides
    shutil.rmtree(made)
    return carried


def verdict_of(task: str, made: Path, seed: int, lab: Path) -> Verdict:
    """Take the last step, and judge."""
    nowhere = made.with_name("nowhere")
    return judge(task, evidence_of(task, Scene(nowhere, made, seed, lab, LocalBench())))


def lost(verdict: Verdict) -> dict[str, float]:
    """Return the points that were lost, by criterion; those that need a GPU are no loss."""
    return {
        finding.criterion: finding.max_points - finding.points
        for finding in verdict.findings
        if finding.state != "needs a GPU" and finding.points < finding.max_points
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the files in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
