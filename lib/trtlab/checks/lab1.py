"""Lab 1: what an ONNX file must hold, and what simplifying it must not change.

Tasks 1.1 and 1.2. The facts are read by trtlab.lab.probes.lab1.
"""

from trtlab.checks.evidence1 import (
    EXPORTED,
    SIMPLIFIED,
    Agreement,
    ExportEvidence,
    GraphFacts,
    Refusal,
    SimplifyEvidence,
)
from trtlab.checks.findings import expect
from trtlab.checks.misconceptions1 import (
    ALL_DYNAMIC,
    FIXED_ARGUMENTS,
    FOLDING_OFF,
    FROZEN,
    FROZEN_BY_ONNXSIM,
    NAMES,
    NO_WEIGHTS,
    OPSET,
    RELABELLED,
    TRAINING_MODE,
    UNCHECKED,
    UNCOMPARED,
    UNSIMPLIFIED,
)
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.thresholds import THRESHOLDS


@check("1.1")
def exported_graph(evidence: ExportEvidence) -> list[Finding]:
    """Judge resnet50.onnx, and the function that wrote it on a model it has not seen."""
    graph = evidence.graph
    if graph.problem:
        return [_unusable(EXPORTED, graph, 3.5), _any_model(evidence)]
    return [
        _weights_inside(graph),
        _tensor_names(graph),
        _parsable_opset(graph),
        _dynamic_batch(graph, evidence.agreement),
        _same_as_pytorch(graph, evidence.agreement),
        _folded(graph),
        _any_model(evidence),
    ]


@check("1.2")
def simplified_graph(evidence: SimplifyEvidence) -> list[Finding]:
    """Judge resnet50_simplified.onnx, and the function that wrote it on three small graphs."""
    return [
        _valid(evidence.after),
        _still_dynamic(evidence),
        _unchanged(evidence),
        _smaller(evidence),
        _refuses(
            "a graph that simplifying changes is refused",
            evidence.random,
            UNCOMPARED,
            "Have onnxsim compare the two graphs on a few random inputs, and raise if it says "
            "that they differ.",
        ),
        _refuses(
            "a graph that contradicts itself is refused",
            evidence.contradictory,
            UNCHECKED,
            "Let onnx.checker look at the simplified graph, shapes included, before you save it.",
        ),
    ]


def _unusable(name: str, graph: GraphFacts, points: float) -> Finding:
    return expect(
        f"{name} is a valid ONNX model",
        False,
        points,
        measured=graph.problem,
        required="a file that onnx.checker accepts",
        next_step=f"Run the cell that writes {name} again, and read its error if it raises one.",
    )


def _weights_inside(graph: GraphFacts) -> Finding:
    extra = len(graph.inputs) - 1
    return expect(
        "the file holds the weights",
        graph.weights > 0 and extra == 0,
        0.5,
        measured=f"{graph.weights:,} values"
        + (f"; {extra} inputs besides the images" if extra else ""),
        required="all weights, and one input",
        next_step="Export the parameters with the graph, which is what PyTorch does by default.",
        misconception=NO_WEIGHTS,
    )


def _tensor_names(graph: GraphFacts) -> Finding:
    first_input, outputs = next(iter(graph.inputs), "none"), list(graph.outputs)
    return expect(
        "input and output have the agreed names",
        first_input == "input" and outputs == ["output"],
        0.5,
        measured=f"{first_input} -> {', '.join(outputs)}",
        required="input -> output",
        next_step="Give the exporter the names of the inputs and outputs.",
        misconception=NAMES,
    )


def _parsable_opset(graph: GraphFacts) -> Finding:
    return expect(
        "TensorRT 8.6 and 10 can parse the opset",
        graph.opset <= THRESHOLDS.newest_opset,
        0.5,
        measured=f"opset {graph.opset}",
        required=f"at most {THRESHOLDS.newest_opset}",
        next_step="Pass the function's `opset` on to the exporter.",
        misconception=OPSET,
    )


def _dynamic_batch(graph: GraphFacts, agreement: Agreement) -> Finding:
    only_batch = all(isinstance(size, int) for size in graph.input_shape[1:])
    # Where nothing runs, it is not the batch that is wrong.
    stuck = agreement.failures if agreement.differences else {}
    shapes = f"input {_shape(graph.input_shape)}, output {_shape(*graph.outputs.values())}"
    key, next_step = RELABELLED, "Declare the dynamic dimension to the exporter, before it traces."
    if not graph.has_dynamic_batch:
        key, next_step = FROZEN, "Declare dimension 0 of input and output as dynamic, by a name."
    elif not only_batch:
        key, next_step = ALL_DYNAMIC, "Declare dimension 0 as dynamic, and no other."
    return expect(
        "the batch is dynamic, and nothing else",
        graph.has_dynamic_batch and only_batch and not stuck,
        1,
        measured=shapes + "".join(f"; batch {size}: {why}" for size, why in stuck.items()),
        required="a name for the batch in input and output, numbers for the rest",
        next_step=next_step,
        misconception=key,
    )


def _same_as_pytorch(graph: GraphFacts, agreement: Agreement) -> Finding:
    return expect(
        "the outputs are PyTorch's",
        agreement.holds,
        0.5,
        measured=agreement,
        required=f"at most {THRESHOLDS.onnx_tolerance:g} on fresh inputs",
        next_step="Export in eval mode, so that an image's answer depends on that image alone."
        if graph.training_nodes
        else "Compare your file with the model on one image: are these the model's weights?",
        misconception=TRAINING_MODE if graph.training_nodes else None,
    )


def _folded(graph: GraphFacts) -> Finding:
    left = graph.ops.get("BatchNormalization", 0)
    return expect(
        "batch normalisation is folded into the convolutions",
        left == 0 and graph.training_nodes == 0,
        0.5,
        measured=f"{left} BatchNormalization nodes"
        + (f", {graph.training_nodes} nodes in training mode" if graph.training_nodes else "")
        + f" of {graph.nodes} nodes",
        required="none left",
        next_step="Export in eval mode."
        if graph.training_nodes
        else "Let the exporter fold constants.",
        misconception=TRAINING_MODE if graph.training_nodes else FOLDING_OFF,
    )


def _any_model(evidence: ExportEvidence) -> Finding:
    fault, key, next_step = _probe_fault(evidence)
    return expect(
        "it exports any model that it is given",
        not fault,
        0.5,
        measured=fault or "a small model of other weights, shape and opset was exported rightly",
        required="the model, path, input shape and opset of the call, in eval mode",
        next_step=next_step,
        misconception=key,
    )


def _probe_fault(evidence: ExportEvidence) -> tuple[str, str | None, str]:
    """Return what is wrong with the export of the probe, or "", its misconception, what to do."""
    probe = evidence.probe
    assert probe is not None
    graph, agreement = probe.graph, probe.agreement
    use_arguments = "Use the function's arguments only, not names of the notebook."
    if probe.attempt.stage != "done":
        step = "Call it on a small model of your own, and read the message."
        return f"on another model it raised {probe.attempt.error}", None, step
    if graph.problem:
        return graph.problem, FIXED_ARGUMENTS, use_arguments
    if graph.training_nodes:
        found = f"{graph.training_nodes} nodes act as in training"
        return found, TRAINING_MODE, "Export in eval mode, in whatever mode the model comes."
    if graph.opset != evidence.asked_opset:
        found = f"opset {graph.opset} instead of {evidence.asked_opset}"
        return found, FIXED_ARGUMENTS, use_arguments
    if not _fits(graph.input_shape[1:], evidence.asked_shape):
        wanted = _shape(["batch", *evidence.asked_shape])
        found = f"input {_shape(graph.input_shape)} instead of {wanted}"
        return found, FIXED_ARGUMENTS, use_arguments
    if agreement.differences and agreement.failures and graph.has_dynamic_batch:
        size, why = next(iter(agreement.failures.items()))
        step = "Declare the dynamic dimension to the exporter, before it traces."
        return f"batch {size} does not run: {why}", RELABELLED, step
    if not agreement.holds:
        found = f"its outputs are not that model's: {agreement}"
        # A file without its weights does not run either, and is not another model's.
        return found, FIXED_ARGUMENTS if len(graph.inputs) == 1 else None, use_arguments
    return "", None, ""


def _fits(found: list[int | str], asked: tuple[int, ...]) -> bool:
    """Whether the sizes are those asked for; a dynamic one is another finding's business."""
    return len(found) == len(asked) and all(
        isinstance(size, str) or size == wanted for size, wanted in zip(found, asked, strict=True)
    )


def _valid(graph: GraphFacts) -> Finding:
    if graph.problem:
        return _unusable(SIMPLIFIED, graph, 0.5)
    return expect(
        f"{SIMPLIFIED} is a valid ONNX model",
        True,
        0.5,
        measured=f"{graph.nodes} nodes, opset {graph.opset}",
        required="a file that onnx.checker accepts",
        next_step="",
    )


def _still_dynamic(evidence: SimplifyEvidence) -> Finding:
    """Judge the deliverable, unless it was frozen before, and the small graph."""
    probe = evidence.probe
    assert probe is not None
    found = {}
    if not evidence.after.problem and evidence.before.has_dynamic_batch:
        found[SIMPLIFIED] = evidence.after
    if not probe.graph.problem:
        found["a small graph"] = probe.graph
    frozen = [name for name, graph in found.items() if not graph.has_dynamic_batch]
    return expect(
        "the batch is still dynamic",
        bool(found) and not frozen,
        0.5,
        measured="; ".join(f"{name}: {_shape(g.input_shape)}" for name, g in found.items())
        or "no file with a dynamic batch to look at",
        required="a name for the batch, as before",
        next_step="Give onnxsim no shape that overwrites the input's."
        if frozen
        else "Run your function on your export.",
        misconception=FROZEN_BY_ONNXSIM if frozen else None,
    )


def _unchanged(evidence: SimplifyEvidence) -> Finding:
    agreement = evidence.agreement
    return expect(
        "it computes what it computed before",
        agreement.holds,
        0.5,
        measured=agreement,
        required=f"at most {THRESHOLDS.onnx_tolerance:g} from {EXPORTED} on fresh inputs",
        next_step=f"Simplify the {EXPORTED} that is there now, and save the result again.",
    )


def _smaller(evidence: SimplifyEvidence) -> Finding:
    probe = evidence.probe
    assert probe is not None
    given, made = evidence.given, probe.graph
    grown = evidence.after.nodes > evidence.before.nodes > 0
    if probe.attempt.stage != "done":
        measured = f"on a small graph it raised {probe.attempt.error}"
    elif made.problem:
        measured = made.problem
    else:
        measured = f"a small graph: {given.nodes} -> {made.nodes} nodes" + (
            f"; {SIMPLIFIED}: {evidence.before.nodes} -> {evidence.after.nodes}" if grown else ""
        )
    shrunk = not made.problem and made.nodes < given.nodes
    missing = made.problem and probe.attempt.stage == "done"
    return expect(
        "constant parts of a graph are gone",
        shrunk and probe.agreement.holds and not grown,
        0.5,
        measured=measured,
        required=f"fewer than {given.nodes} nodes of a graph with constant parts, the same outputs",
        next_step="Write to the path that the function is given."
        if missing
        else "Count the nodes of the graph that you save.",
        misconception=FIXED_ARGUMENTS if missing else UNSIMPLIFIED if not made.problem else None,
    )


def _refuses(criterion: str, refusal: Refusal | None, key: str, next_step: str) -> Finding:
    assert refusal is not None
    return expect(
        criterion,
        refusal.holds,
        0.5,
        measured=refusal,
        required="an exception, and no file",
        next_step=next_step,
        misconception=key,
    )


def _shape(*shapes: list[int | str]) -> str:
    return ", ".join(f"({', '.join(map(str, shape))})" for shape in shapes) or "none"
