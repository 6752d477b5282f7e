"""Lab 1: the notebook's two ONNX files, and its two functions on models they have not seen."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence1 import (
    EXPORTED,
    SIMPLIFIED,
    Agreement,
    ExportEvidence,
    GraphFacts,
    ProbeFacts,
    Refusal,
    SimplifyEvidence,
)
from trtlab.lab.artifacts import reference_model
from trtlab.lab.attempts import attempt, missing
from trtlab.lab.exchange import ExchangeError, is_regular, read_model, write_model
from trtlab.lab.onnx_facts import Runner, compare, facts_of, torch_runner
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes.lab1_models import (
    CONTRADICTORY,
    FOLDABLE,
    IMAGE,
    RANDOM,
    ExportCall,
    draw_export,
    draw_graphs,
    read_net,
    write_net,
)
from trtlab.lab.quiet import quiet
from trtlab.lab.scratch import scratch_folder

EXPORT_FUNCTION, SIMPLIFY_FUNCTION = "export_model", "simplify_model"
CALL, EXPORT = "call.json", "export.onnx"
GRAPHS = ("0.onnx", "1.onnx", "2.onnx")


@probe("1.1")
class ExportProbe(Probe[Observed]):
    """resnet50.onnx, and what `export_model` makes of a network of secret weights."""

    observed = Observed

    def give(self, given: Path, seed: int) -> None:
        """Write the network's weights, and the input shape and opset to ask for."""
        net, call = draw_export(seed)
        write_net(given, net)
        write_model(given / CALL, call)

    def run(self, names: Names, given: Path, made: Path) -> Observed:
        """Export the network."""
        function = names.get(EXPORT_FUNCTION)
        if not callable(function):
            return Observed(attempt=missing(EXPORT_FUNCTION))
        call = read_model(given / CALL, ExportCall)
        # In training mode: the file must hold the model as it is used, whatever the caller forgot.
        model, path = read_net(given).train(), str((made / EXPORT).absolute())
        return Observed(
            attempt=_tried(EXPORT_FUNCTION, partial(function, model, path, **dict(call)))
        )

    def evidence(self, observed: Observed, scene: Scene) -> ExportEvidence:
        """Compare both files with PyTorch."""
        if _nothing_to_judge(observed.attempt, scene.folder / EXPORTED):
            return ExportEvidence(attempt=observed.attempt)
        rng = np.random.default_rng((scene.seed, 1))
        net, call = draw_export(scene.seed)
        graph = _deliverable(scene, EXPORTED)
        reference = torch_runner(reference_model()[1])
        return ExportEvidence(
            attempt=_called(EXPORT_FUNCTION),
            graph=graph,
            agreement=compare(
                reference, _runner(scene, scene.folder / EXPORTED), graph, IMAGE, rng
            ),
            probe=_probe_facts(
                scene, observed.attempt, EXPORT, torch_runner(net), call.input_shape, rng
            ),
            asked_opset=call.opset,
            asked_shape=call.input_shape,
        )


class SimplifyObserved(Observed):
    """How far `simplify_model` got with each of GRAPHS."""

    attempts: tuple[Attempt, ...] = ()


@probe("1.2")
class SimplifyProbe(Probe[SimplifyObserved]):
    """Both ONNX files, and what `simplify_model` makes of three small graphs."""

    observed = SimplifyObserved

    def give(self, given: Path, seed: int) -> None:
        """Write the graphs; which of them should be refused, only the seed tells."""
        _, graphs = draw_graphs(seed)
        for file, graph in zip(GRAPHS, graphs.values(), strict=True):
            onnx.save(graph, given / file)

    def run(self, names: Names, given: Path, made: Path) -> SimplifyObserved:
        """Simplify each graph."""
        function = names.get(SIMPLIFY_FUNCTION)
        if not callable(function):
            return SimplifyObserved(attempt=missing(SIMPLIFY_FUNCTION))
        attempts = []
        for file in GRAPHS:
            paths = [str((folder / file).absolute()) for folder in (given, made)]
            attempts.append(_tried(SIMPLIFY_FUNCTION, partial(function, *paths)))
        return SimplifyObserved(attempt=_called(SIMPLIFY_FUNCTION), attempts=tuple(attempts))

    def evidence(self, observed: SimplifyObserved, scene: Scene) -> SimplifyEvidence:
        """Compare the notebook's files with each other, and the first graph with PyTorch."""
        if observed.attempt.stage != "done":
            return SimplifyEvidence(attempt=observed.attempt)
        if len(observed.attempts) != len(GRAPHS):
            raise ExchangeError(f"{len(observed.attempts)} attempts at {len(GRAPHS)} graphs")
        net, graphs = draw_graphs(scene.seed)
        files = dict(zip(graphs, GRAPHS, strict=True))
        attempts = dict(zip(graphs, observed.attempts, strict=True))
        if _nothing_to_judge(attempts[FOLDABLE], scene.folder / SIMPLIFIED):
            return SimplifyEvidence(attempt=attempts[FOLDABLE])

        rng = np.random.default_rng((scene.seed, 1))
        before, after = _deliverable(scene, EXPORTED), _deliverable(scene, SIMPLIFIED)
        agreement = Agreement(failures={1: before.problem})
        if not before.problem:
            expected, found = (_runner(scene, scene.folder / f) for f in (EXPORTED, SIMPLIFIED))
            agreement = compare(expected, found, after, IMAGE, rng)

        def refusal(kind: str) -> Refusal:
            wrote = os.path.lexists(scene.made / files[kind])
            return Refusal(error=attempts[kind].error, wrote=wrote)

        return SimplifyEvidence(
            attempt=observed.attempt,
            before=before,
            after=after,
            agreement=agreement,
            given=facts_of(graphs[FOLDABLE]),
            probe=_probe_facts(
                scene, attempts[FOLDABLE], files[FOLDABLE], torch_runner(net), IMAGE, rng
            ),
            random=refusal(RANDOM),
            contradictory=refusal(CONTRADICTORY),
        )


def _tried(what: str, call: Callable[[], Any]) -> Attempt:
    with scratch_folder(), quiet():
        return attempt(what, call)[0]


def _called(what: str) -> Attempt:
    """Return the attempt of a function that ran; how it ended is for the check to explain."""
    return Attempt(stage="done", what=what)


def _nothing_to_judge(tried: Attempt, deliverable: Path) -> bool:
    """Whether the function is not there or not written yet, or raised before there is a file."""
    if tried.stage == "raised":
        return not is_regular(deliverable)
    return tried.stage != "done"


def _deliverable(scene: Scene, name: str) -> GraphFacts:
    if not is_regular(scene.folder / name):
        return GraphFacts(problem=f"There is no ONNX file {name} in this lab's folder.")
    return scene.bench.graph(scene.folder / name)


def _runner(scene: Scene, path: Path) -> Runner:
    return lambda images: scene.bench.run_onnx(path, images)


def _probe_facts(
    scene: Scene,
    tried: Attempt,
    file: str,
    reference: Runner,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> ProbeFacts:
    """Read a file that the function should have written, and compare it with a reference."""
    path = scene.made / file
    graph = GraphFacts(problem="the function wrote no file at the path that it was given")
    if is_regular(path):
        graph = scene.bench.graph(path)
    agreement = compare(reference, _runner(scene, path), graph, shape, rng)
    return ProbeFacts(attempt=tried, graph=graph, agreement=agreement)
