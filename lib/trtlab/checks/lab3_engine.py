"""Checks of lab 3, second half: the INT8 engine, its speed-up and its size."""

from pydantic import Field

from trtlab.checks.evidence import Evidence
from trtlab.checks.findings import expect, expect_interval, needs_gpu
from trtlab.checks.misconceptions import misconception
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.results import PairedComparison
from trtlab.thresholds import THRESHOLDS

NO_INT8_LAYERS = misconception(
    "int8-in-name-only",
    "An INT8 engine without INT8",
    "A calibrator alone changes nothing, and neither does the file's name: TensorRT may use INT8 "
    "only where the builder config allows it. What you have is an engine in a higher precision.",
)
NO_VERBOSITY = misconception(
    "int8-layers-unknown",
    "An engine that keeps its layers to itself",
    "Unless the build asks for more, an engine remembers its layers' names and nothing else, and "
    "nobody can tell which of them run in INT8.",
)
FP32_FALLBACK = misconception(
    "int8-without-fp16",
    "INT8 without FP16 beside it",
    "Allowing INT8 does not allow FP16. A layer that has no INT8 kernel, or is faster in FP16, "
    "falls back to FP32 then, with a conversion on both sides.",
)
CALIBRATED_AT_OPT = misconception(
    "calibrated-at-opt",
    "Calibration ran at the engine's opt shape",
    "Without a calibration profile, TensorRT calibrates at OPT of profile 0, whatever your "
    "get_batch_size says. If OPT is smaller than your batches, it reads the first images of each "
    "and ignores the rest; if it is larger, it reads past the end of your buffer.",
)
NO_RANGE_PROFILE = misconception(
    "calibration-profile-is-no-profile",
    "The calibration profile taken for an optimization profile",
    "The calibration profile says how the network runs while TensorRT watches it. Which batches "
    "the engine accepts later is said by an optimization profile, which has to be added as well.",
)
TOO_FEW_IMAGES = misconception(
    "too-few-calibration-images",
    "Too few images calibrated",
    "A range is read off the tail of a histogram, and a handful of images has no tail to speak of. "
    "Count what TensorRT was shown: a calibrator that stops early, or a cache from an earlier "
    "attempt, does not fail the build.",
)
OTHER_INPUTS = misconception(
    "calibrated-on-other-inputs",
    "The ranges are for other inputs",
    "The calibrated range of the input is not the range of the model's inputs, so TensorRT was "
    "shown something else: noise, pixels that were not normalised, or the cache of another run.",
)

INPUT_RANGE = (0.5, 1.5)
"""Calibrated range of the input over its largest value. Entropy calibration clips the tail, hardly
more; normally distributed noise reaches 1.8 times as far as normalised images."""

ACTIVATION_RATIO = (0.25, 2)
"""Median of a calibrated range over the largest activation on other images. The slim ResNet-50 of
the digits has 0.81, and 32 after a calibration on raw pixels."""

FEWEST_BYTES_PER_WEIGHT = 0.9
"""INT8 takes a byte; an engine with less is of another network, or its weights are elsewhere."""


class Int8EngineEvidence(Evidence):
    """An INT8 engine, its cache, and the config that its build function asked for.

    Attributes:
        problem: why the engine file cannot be loaded; "" if it can.
        batches: (min, opt, max) of its profile.
        precisions: precision -> number of layers, by the engine inspector.
        observed: whether the function called build_serialized_network when it was watched.
        fp16: whether it had allowed FP16 then.
        calibration_batch: of the calibration profile in that config; None if there is none.
        batch_size: of the batches that the calibrator hands over.
        images_shown: the calibrator's count.
        cache_problem: why the cache cannot be used; "" if it can.
        cache_tensors: number of ranges in it.
        input_range: the input's range in it; None if it has none.
        input_largest: the largest magnitude of the model's inputs.
        activation_ratio: the median of the other tensors' ranges over the largest magnitudes that
            they take in the course's model; None if the cache has other names for them.
        images: how many were run through this engine and through the FP32 model.
        logits_error: the norm of the logits' difference over the norm of the FP32 logits.
        same_class: for how many images both say the same.
    """

    problem: str = ""
    batches: tuple[int, int, int] | None = None
    precisions: dict[str, int] = Field(default_factory=dict)
    observed: bool = False
    fp16: bool = False
    calibration_batch: int | None = None
    batch_size: int = 0
    images_shown: int | None = None
    cache_problem: str = ""
    cache_tensors: int = 0
    input_range: float | None = None
    input_largest: float = 0
    activation_ratio: float | None = None
    images: int = 0
    logits_error: float | None = None
    same_class: int = 0


@check("3.3")
def int8_engine(evidence: Int8EngineEvidence) -> list[Finding]:
    """Judge the engine, what it was calibrated on, and its answers."""
    return [
        _loads(evidence),
        _in_int8(evidence.precisions, 1, "the layers compute in INT8"),
        expect(
            "FP16 is allowed beside INT8",
            evidence.fp16,
            0.5,
            measured=_observed(evidence, "allowed" if evidence.fp16 else "not allowed"),
            required="allowed",
            next_step="Set both flags on the builder config.",
            misconception=FP32_FALLBACK if evidence.observed else None,
        ),
        expect(
            "calibration runs at the batch of the loader",
            evidence.observed and evidence.calibration_batch == evidence.batch_size,
            0.5,
            measured=_observed(
                evidence,
                "no calibration profile"
                if evidence.calibration_batch is None
                else f"batch {evidence.calibration_batch}",
            ),
            required=f"a calibration profile of batch {evidence.batch_size}",
            next_step="Set a calibration profile whose min, opt and max are the calibrator's batch "
            "size, which is the loader's: config.set_calibration_profile.",
            misconception=CALIBRATED_AT_OPT
            if evidence.observed and evidence.calibration_batch is None
            else None,
        ),
        _enough_images(evidence),
        _cache(evidence),
        _answers(evidence.logits_error, evidence.same_class, evidence.images, 0.5),
    ]


def _observed(evidence: Int8EngineEvidence, facts: str) -> str:
    return facts if evidence.observed else "build_serialized_network was not called"


def _loads(evidence: Int8EngineEvidence) -> Finding:
    low, opt, high = THRESHOLDS.profile
    found = evidence.batches
    takes = found is not None and found[0] <= low and found[2] >= high
    return expect(
        "the engine loads and takes batches 1 to 32",
        takes,
        0.5,
        measured=evidence.problem
        or ("no profile" if found is None else "min {} / opt {} / max {}".format(*found)),
        required=f"batches {low} to {high}",
        next_step=f"Add an optimization profile with min {low}, opt {opt} and max {high}."
        if not evidence.problem
        else "Write the serialized engine to engine_path, unchanged.",
        misconception=NO_RANGE_PROFILE if found is not None and not takes else None,
    )


def _in_int8(precisions: dict[str, int], points: float, criterion: str) -> Finding:
    """Return the finding on the share of INT8 layers, which all three tasks hang on."""
    layers, int8 = sum(precisions.values()), precisions.get("INT8", 0)
    unknown = precisions.get("unknown", 0) > layers / 2
    listing = ", ".join(f"{count} {name}" for name, count in precisions.items())
    return expect(
        criterion,
        int8 > layers / 2,
        points,
        measured=f"{listing} layers" if layers else "no engine to look into",
        required="INT8 for most of the layers",
        next_step="Set config.profiling_verbosity to DETAILED and build again."
        if unknown
        else "Set BuilderFlag.INT8, and hand the calibrator to the config."
        if layers
        else "Finish task 3.3.",
        misconception=None if not layers else NO_VERBOSITY if unknown else NO_INT8_LAYERS,
    )


def _enough_images(evidence: Int8EngineEvidence) -> Finding:
    least, shown = THRESHOLDS.min_calibration_images, evidence.images_shown
    holds = shown is not None and shown >= least
    return expect(
        "TensorRT was shown enough images",
        holds,
        0.5,
        measured=f"{shown} images" if shown is not None else "the calibrator does not say",
        required=f"at least {least}",
        next_step="Delete the cache, make a new calibrator and build again; then print "
        "calibrator.images_shown.",
        misconception=None if holds or shown is None else TOO_FEW_IMAGES,
    )


def _cache(evidence: Int8EngineEvidence) -> Finding:
    ratio = (
        evidence.input_range / evidence.input_largest
        if evidence.input_range is not None and evidence.input_largest
        else None
    )
    activations = evidence.activation_ratio
    fits = (
        ratio is not None
        and INPUT_RANGE[0] <= ratio <= INPUT_RANGE[1]
        and (activations is None or ACTIVATION_RATIO[0] <= activations <= ACTIVATION_RATIO[1])
    )
    layers = sum(evidence.precisions.values())
    covers = evidence.cache_tensors > layers / 2 > 0
    measured = evidence.cache_problem or (
        f"{evidence.cache_tensors} ranges for {layers} layers; the input's is "
        + (f"{evidence.input_range:.3g}" if evidence.input_range is not None else "not among them")
        + (f", the others' {activations:.2g} times the largest activations" if activations else "")
    )
    return expect(
        "the cache holds this network's ranges",
        not evidence.cache_problem and covers and fits,
        0.5,
        measured=measured,
        required=f"ranges for most layers; the input's near {evidence.input_largest:.3g}, the "
        "largest value of its inputs, the others' near the largest activations",
        next_step="Write the cache in write_calibration_cache, and build from a new calibrator."
        if evidence.cache_problem
        else "Delete the cache, look at what your dataset returns, and calibrate again.",
        misconception=OTHER_INPUTS if covers and ratio is not None and not fits else None,
    )


def _answers(error: float | None, same_class: int, images: int, points: float) -> Finding:
    at_most = THRESHOLDS.int8_logits_error
    holds = error is not None and error <= at_most
    return expect(
        "its answers are the FP32 model's",
        holds,
        points,
        measured="it did not run"
        if error is None
        else f"logits differ by {error:.1%}; the same class for {same_class} of {images} images",
        required=f"a difference of at most {at_most:.0%}",
        margin=""
        if error is None
        else f"{abs(at_most - error):.1%} {'spare' if holds else 'over'}",
        next_step="Calibrate on images as inference sees them: finish tasks 3.1 and 3.2, delete "
        "the cache and build again."
        if error is not None
        else "Finish task 3.3.",
    )


class Int8SpeedEvidence(Evidence):
    """The speed-up of the INT8 engine over PyTorch in strict FP32, host to host, at one batch.

    `problem`, `precisions` and the answers are as in Int8EngineEvidence.
    """

    emulated: bool = False
    batch: int = 1
    problem: str = ""
    precisions: dict[str, int] = Field(default_factory=dict)
    images: int = 0
    logits_error: float | None = None
    same_class: int = 0
    speedup: PairedComparison | None = None


@check("3.4")
def int8_speedup(evidence: Int8SpeedEvidence) -> list[Finding]:
    """Judge the speed-up, and that what was timed is an INT8 engine with right answers."""
    in_int8 = _in_int8(evidence.precisions, 1, "what is timed computes in INT8")
    answers = _answers(evidence.logits_error, evidence.same_class, evidence.images, 1)
    at_least = THRESHOLDS.int8_speedup
    criterion = f"speed-up over PyTorch FP32 at batch {evidence.batch}"
    if evidence.problem or in_int8.points == 0 or answers.points == 0:
        speed = expect(
            criterion,
            False,
            10,
            measured=evidence.problem or "not counted: the engine is not what it should be",
            required=f"at least {at_least:g}x",
            next_step="Finish task 3.3 first.",
        )
    elif evidence.speedup is None:
        speed = needs_gpu(criterion, 10, required=f"at least {at_least:g}x")
    else:
        speed = expect_interval(
            criterion,
            10,
            value=evidence.speedup.speedup,
            low=evidence.speedup.low,
            high=evidence.speedup.high,
            at_least=at_least,
            unit="x",
            next_step="Is anything else using the GPU (nvidia-smi)? Was the engine built on this "
            "GPU while it was idle, with enough workspace, and with FP16 beside INT8?",
        )
    return [in_int8, answers, speed]


class Int8SizeEvidence(Evidence):
    """Bytes of the INT8 engine, of the same model's FP32 engine, and of the weights.

    Attributes:
        weights: number of weights in the course's model.
        weight_bytes: what they take in the engine, by the inspector; None if it does not tell.
    """

    emulated: bool = False
    problem: str = ""
    int8_bytes: int | None = None
    fp32_bytes: int = 0
    weights: int = 0
    weight_bytes: int | None = None


@check("3.5")
def int8_size(evidence: Int8SizeEvidence) -> list[Finding]:
    """Judge the bytes per weight, and the engine file against one in FP32."""
    at_least = THRESHOLDS.int8_size_ratio
    criterion = "FP32 engine / INT8 engine, in bytes"
    required = f"at least {at_least:g}x"
    if evidence.int8_bytes is None:
        measured = evidence.problem or "no resnet50_int8.engine"
        return [
            expect(
                criterion,
                False,
                3,
                measured=measured,
                required=required,
                next_step="Finish task 3.3 first.",
            )
        ]
    # Where the inspector lists no weights, the file is an upper bound.
    stored = evidence.weight_bytes or evidence.int8_bytes
    per_weight, at_most = stored / evidence.weights, 4 / at_least  # FP32 takes 4 bytes
    complete = min(stored, evidence.int8_bytes) >= FEWEST_BYTES_PER_WEIGHT * evidence.weights
    next_step = (
        "Which layers are not in INT8? See the card of task 3.3."
        if complete
        else "Build the engine from the whole ResNet-50, with its weights."
    )
    ratio = evidence.fp32_bytes / evidence.int8_bytes
    small = expect(
        "bytes per weight",
        complete and per_weight <= at_most,
        1,
        measured=f"{per_weight:.2f}",
        required=f"{FEWEST_BYTES_PER_WEIGHT:g} to {at_most:.2f}, where FP32 takes 4",
        next_step=next_step,
        misconception=(NO_VERBOSITY if evidence.weight_bytes is None else NO_INT8_LAYERS)
        if complete
        else None,
    )
    if evidence.emulated:
        return [small, needs_gpu(criterion, 2, required=required)]
    return [
        small,
        expect(
            criterion,
            complete and ratio >= at_least,
            2,
            measured=f"{evidence.fp32_bytes / 1e6:.1f} MB / {evidence.int8_bytes / 1e6:.1f} MB = "
            f"{ratio:.2f}x",
            required=required,
            margin=f"{abs(ratio - at_least):.2f}x {'short' if ratio < at_least else 'to spare'}",
            next_step=next_step,
            misconception=NO_INT8_LAYERS if complete else None,
        ),
    ]
