"""The evidence of lab 1: what is in the ONNX files, and what became of the probes."""

from pydantic import BaseModel, ConfigDict

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.thresholds import THRESHOLDS

EXPORTED, SIMPLIFIED = "resnet50.onnx", "resnet50_simplified.onnx"


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class GraphFacts(_Facts):
    """What can be read off an ONNX file without running it.

    Attributes:
        problem: why it cannot be read or is not valid, "" if it is; then nothing else is filled in.
        opset: version of the ai.onnx operators.
        inputs, outputs: name -> dimensions; a dynamic one is its name, or "?".
        ops: operator type -> number of nodes.
        training_nodes: nodes that act as in training: batch normalisation that uses the batch's
            own statistics, and dropout.
        weights: values stored in the file.
    """

    problem: str = ""
    opset: int = 0
    inputs: dict[str, list[int | str]] = {}
    outputs: dict[str, list[int | str]] = {}
    ops: dict[str, int] = {}
    training_nodes: int = 0
    weights: int = 0

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return sum(self.ops.values())

    @property
    def input_shape(self) -> list[int | str]:
        """Dimensions of the first input: the images, in all exports of PyTorch."""
        return next(iter(self.inputs.values()), [])

    @property
    def batches(self) -> list[int | str]:
        """The first dimension of the first input, and of each output."""
        return [shape[0] for shape in (self.input_shape, *self.outputs.values()) if shape]

    @property
    def has_dynamic_batch(self) -> bool:
        """Whether the batch is symbolic in input and output."""
        return bool(self.batches) and all(isinstance(batch, str) for batch in self.batches)


class Agreement(_Facts):
    """How a graph's outputs compare with a reference on fresh inputs, by batch size.

    Attributes:
        differences: largest absolute difference, where there is one.
        wrong: what is wrong with an output that cannot be compared: its shape, NaN, Inf.
        failures: why nothing ran.
    """

    differences: dict[int, float] = {}
    wrong: dict[int, str] = {}
    failures: dict[int, str] = {}

    @property
    def largest(self) -> float | None:
        """Largest difference, or None if nothing was compared."""
        return max(self.differences.values(), default=None)

    @property
    def holds(self) -> bool:
        """Whether something ran, and all that ran agrees."""
        largest = self.largest
        return largest is not None and not self.wrong and largest <= THRESHOLDS.onnx_tolerance

    def __str__(self) -> str:
        if self.wrong:
            return "; ".join(f"batch {batch}: {why}" for batch, why in self.wrong.items())
        if self.largest is None:
            return f"it did not run: {next(iter(self.failures.values()), 'no input was tried')}"
        batches = ", ".join(map(str, self.differences))
        return f"largest difference {self.largest:.2g} at batch {batches}"


class ProbeFacts(_Facts):
    """What the student's function made of a small model or graph that it had not seen before.

    Attributes:
        attempt: how far it got.
        graph: the file it wrote.
        agreement: of that file with the small model.
    """

    attempt: Attempt
    graph: GraphFacts
    agreement: Agreement


class ExportEvidence(Evidence):
    """Task 1.1.

    Attributes:
        graph: resnet50.onnx.
        agreement: of resnet50.onnx with the course's model in PyTorch, eval mode, FP32, CPU.
        probe: the export of another model, handed over in training mode.
        asked_opset, asked_shape: what the function was given for the probe.
    """

    graph: GraphFacts = GraphFacts()
    agreement: Agreement = Agreement()
    probe: ProbeFacts | None = None
    asked_opset: int = 0
    asked_shape: tuple[int, ...] = ()


class Refusal(_Facts):
    """What the student's function did with a graph that it must refuse."""

    error: str  # "RuntimeError: ...", or "" if it raised none
    wrote: bool  # whether there was a file afterwards

    @property
    def holds(self) -> bool:
        """Whether it raised, and wrote nothing."""
        return bool(self.error) and not self.wrote

    def __str__(self) -> str:
        written = "wrote a file" if self.wrote else "wrote no file"
        return f"{written}, raised {self.error or 'nothing'}"


class SimplifyEvidence(Evidence):
    """Task 1.2.

    Attributes:
        before, after: resnet50.onnx and resnet50_simplified.onnx.
        agreement: of the second with the first.
        given, probe: a graph with constant parts, and what the function made of it.
        random: a graph that computes something else at every run.
        contradictory: a graph whose declared output shape is wrong.
    """

    before: GraphFacts = GraphFacts()
    after: GraphFacts = GraphFacts()
    agreement: Agreement = Agreement()
    given: GraphFacts = GraphFacts()
    probe: ProbeFacts | None = None
    random: Refusal | None = None
    contradictory: Refusal | None = None
