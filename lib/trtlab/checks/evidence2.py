"""What lab 2's checks judge: how the student's functions build, and the engines that they left.

Plain data, filled by trtlab.lab.probes.lab2.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.results import PairedComparison
from trtlab.thresholds import THRESHOLDS


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class RequestedShapes(_Facts):
    """One call of IOptimizationProfile.set_shape; `refused` if it raised."""

    tensor: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.tensor!r}: min {self.min}, opt {self.opt}, max {self.max}"


class Asked(_Facts):
    """What a function asked TensorRT's builder for, in the order of the steps.

    Attributes:
        explicit_batch: whether the network can hold ONNX's batch dimension.
        parsed: what the parser returned; None if it was not asked.
        parser_errors: what it said on failure.
        layers: of the network, when the build began.
        shapes: every set_shape on a profile.
        profiles_added: profiles that the config got.
        flags: builder flags set, such as "FP16".
        workspace_bytes: limit of the workspace pool.
        verbosity: of profiling, such as "DETAILED".
        built: whether the build was asked for.
    """

    explicit_batch: bool = True
    parsed: bool | None = None
    parser_errors: list[str] = []
    layers: int = 0
    shapes: list[RequestedShapes] = []
    profiles_added: int = 0
    flags: list[str] = []
    workspace_bytes: int | None = None
    verbosity: str | None = None
    built: bool = False


class Build(_Facts):
    """One call of a student's build function, on a model and a path of the check's own.

    Attributes:
        attempt: how far it got.
        asked: of the builder.
        made_engine: whether a plan came out of the builder.
        returned: "nothing" is None, "a value" anything else.
        file_size: of what it left at `engine_path`, in bytes; None if there is no file.
        path_used: whether it opened the ONNX file that it was given, and wrote where it was told;
            None if it did not get so far.
    """

    attempt: Attempt
    asked: Asked = Asked()
    made_engine: bool = False
    returned: Literal["nothing", "a value"] = "nothing"
    file_size: int | None = None
    path_used: bool | None = None

    @property
    def stopped(self) -> bool:
        """Whether it raised or returned None, and left no file."""
        ended = self.attempt.stage == "raised" or self.returned == "nothing"
        return ended and self.file_size is None

    @property
    def reached_parser(self) -> bool:
        """Whether it read the model, with the parser or with a check of its own before it."""
        return self.asked.parsed is not None or self.attempt.stage == "raised"


class RunFacts(_Facts):
    """An engine's answers to fresh images.

    Attributes:
        batch: how many images.
        problem: why it did not run; "" if it did.
        relative_error: largest difference from the logits that are expected, in FP32, over the
            largest of those; None if it did not run or a value is NaN or infinite.
    """

    batch: int
    problem: str = ""
    relative_error: float | None = None

    @property
    def right(self) -> bool:
        """Whether it ran, and differs by no more than FP16's rounding explains."""
        error = self.relative_error
        return not self.problem and error is not None and error <= THRESHOLDS.fp16_logits_tolerance

    def __str__(self) -> str:
        if self.problem or self.relative_error is None:
            return self.problem or "NaN or infinite values"
        return f"they differ by {self.relative_error:.1e}"


class EngineFacts(_Facts):
    """An engine file that a student's function made.

    Attributes:
        file: its name.
        size: in bytes; None if there is no file.
        load_error: why it does not load here; "" if it does.
        returned: what the function's return value is in relation to the file.
        precisions: precision -> number of layers, "unknown" where the inspector tells names only.
        profile: the batches (min, opt, max) of profile 0; None if the engine does not load.
        runs: one for each batch that was asked for.
    """

    file: str
    size: int | None = None
    load_error: str = ""
    returned: Literal["not called", "nothing", "no plan", "another plan", "the file"] = "not called"
    precisions: dict[str, int] = {}
    profile: tuple[int, int, int] | None = None
    runs: list[RunFacts] = []

    @property
    def is_fp16(self) -> bool:
        """Whether most layers run in FP16, and none in INT8."""
        layers, fp16 = sum(self.precisions.values()), self.precisions.get("FP16", 0)
        return fp16 > layers / 2 and "INT8" not in self.precisions

    @property
    def problem(self) -> str:
        """Why it is no engine of the model that it should be of; "" if it is."""
        if self.size is None:
            return f"there is no {self.file}"
        if self.load_error:
            return self.load_error
        if not self.runs:
            return "it was not run"
        return "; ".join(f"batch {run.batch}: {run}" for run in self.runs if not run.right)


class Fp16EngineEvidence(Evidence):
    """Task 2.1: the engine; the function on a small model, a broken one, and a failing build.

    `other_engine` is what came of `other_model`, whose weights nobody had seen before.
    """

    engine: EngineFacts
    other_model: Build
    other_engine: EngineFacts
    unparsable: Build
    failed: Build


class DynamicEngineEvidence(Evidence):
    """Task 2.2: the engine; the function on a small model, and the engine that came of it."""

    engine: EngineFacts
    other_model: Build
    other_engine: EngineFacts


class SpeedFacts(_Facts):
    """An engine's speed-up over PyTorch in strict FP32, host to host.

    `problem` is why it could not be measured; `speedup` is None if it was not.
    """

    engine: EngineFacts
    batch: int
    problem: str = ""
    speedup: PairedComparison | None = None


class SpeedEvidence(Evidence):
    """Task 2.3."""

    emulated: bool
    speedups: list[SpeedFacts]


class SizeEvidence(Evidence):
    """Task 2.4: the student's FP16 engine, and the bytes of the same model's FP32 engine."""

    emulated: bool
    engine: EngineFacts
    fp32_bytes: int
