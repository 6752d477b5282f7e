"""Checks of lab 2: the FP16 engine, the dynamic engine, their speed-up and their size."""

from trtlab.checks.diagnosis2 import PATH_IGNORED, file_problem
from trtlab.checks.evidence2 import (
    Build,
    DynamicEngineEvidence,
    EngineFacts,
    Fp16EngineEvidence,
    RunFacts,
    SizeEvidence,
    SpeedEvidence,
    SpeedFacts,
)
from trtlab.checks.findings import expect, expect_interval, needs_gpu
from trtlab.checks.misconceptions import misconception
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.thresholds import THRESHOLDS

ERRORS_IGNORED = misconception(
    "parser-errors-ignored",
    "The parser's answer was ignored",
    "`parse` does not raise: it returns False and keeps the reasons. If you go on, you build what "
    "was parsed before the error, often an empty network, and the message you get is about that.",
)
WRITTEN_BEFORE_CHECKED = misconception(
    "written-before-checked",
    "The plan was written before it was looked at",
    "A failed build returns None. Opening the file first truncates the engine you had, and writing "
    "None then raises: what stays is an empty file that the next cell takes for an engine.",
)
FP32_LABELLED = misconception(
    "fp32-labelled-fp16",
    "An FP32 engine under the name of FP16",
    "Without the builder flag, TensorRT may not use FP16 anywhere, whatever the file is called. "
    "The engine works, so nothing tells you; the inspector does.",
)
NAMES_ONLY = misconception(
    "names-only",
    "The engine does not tell the precision of its layers",
    "By default a plan keeps the names of its layers and nothing else. What the inspector can tell "
    "is decided when the engine is built.",
)
WORKSPACE_UNIT = misconception(
    "workspace-unit",
    "The workspace limit is not in bytes",
    "The limit is in bytes. 2048 bytes of scratch memory rule out nearly every fast kernel, in "
    "silence: the builder skips what does not fit.",
)
PROFILE_TOO_SMALL = misconception(
    "profile-too-small",
    "The profile ends below the batches that you will run",
    "max is a promise in both directions: the engine refuses anything above it. The evaluation in "
    "lab 5 and the throughput measurement run at batch 32.",
)
PROFILE_STATIC = misconception(
    "profile-static",
    "min, opt and max are the same batch",
    "Such a profile fixes the batch: a dynamic ONNX file does not make a dynamic engine, the range "
    "between min and max does.",
)
WRONG_OPT = misconception(
    "wrong-opt",
    "The engine is tuned for another batch than it will meet",
    "Any batch from min to max runs; kernels are chosen by their time at opt. Tuned for the "
    "largest batch, the everyday one is slower than it need be, and the other way round.",
)


@check("2.1")
def fp16_engine(evidence: Fp16EngineEvidence) -> list[Finding]:
    """Judge build_engine_fp16 and its engine."""
    engine, other = evidence.engine, evidence.other_model
    return [
        _file(engine, other, 1),
        _precision(engine, 1),
        *_runs(engine, (1,)),
        _follows_arguments(other, evidence.other_engine, 0.5),
        _workspace(other, 0.5),
        _stops_at_parse_error(evidence.unparsable, 0.5),
        _stops_at_failed_build(evidence.failed, 0.5),
    ]


@check("2.2")
def dynamic_engine(evidence: DynamicEngineEvidence) -> list[Finding]:
    """Judge build_engine_dynamic and its engine."""
    engine = evidence.engine
    return [
        _file(engine, evidence.other_model, 0.5),
        _profile(evidence, 1.5),
        _precision(engine, 1),
        *_runs(engine, (0.5, 0.5, 1)),
    ]


@check("2.3")
def fp16_speedup(evidence: SpeedEvidence) -> list[Finding]:
    """Judge the speed-ups over PyTorch in strict FP32, host to host."""
    return [_speedup(facts, evidence.emulated, 6) for facts in evidence.speedups]


@check("2.4")
def fp16_size(evidence: SizeEvidence) -> list[Finding]:
    """Judge how much smaller the FP16 engine is than one of the same model in FP32."""
    criterion, at_least = "FP32 engine / FP16 engine, in bytes", THRESHOLDS.fp16_size_ratio
    required = f"at least {at_least:g}x"
    engine = evidence.engine
    problem = engine.problem or ("some layers run in INT8" if "INT8" in engine.precisions else "")
    if problem or not engine.size:
        return [
            expect(
                criterion,
                False,
                3,
                measured=problem,
                required=required,
                next_step="Finish task 2.1 first.",
            )
        ]
    if evidence.emulated:
        # A plan of the emulation holds other things than an engine of TensorRT.
        return [needs_gpu(criterion, 3, required=required)]
    ratio = evidence.fp32_bytes / engine.size
    sizes = f"{evidence.fp32_bytes / 1e6:.1f} MB / {engine.size / 1e6:.1f} MB"
    return [
        expect(
            criterion,
            ratio >= at_least,
            3,
            measured=f"{sizes} = {ratio:.2f}x",
            required=required,
            margin=f"{abs(ratio - at_least):.2f}x {'short' if ratio < at_least else 'to spare'}",
            misconception=FP32_LABELLED,
            next_step="Weights take half the bytes in FP16. Look at the precisions in task 2.1's "
            "card: which layers kept FP32?",
        )
    ]


def _file(engine: EngineFacts, build: Build, points: float) -> Finding:
    """Judge whether there is a loadable engine file, and the function returned what is in it."""
    measured, likely, next_step = file_problem(engine, build) or ("as required", None, "")
    return expect(
        f"{engine.file} loads, and is what the function returned",
        not next_step,
        points,
        measured=measured if next_step else f"{engine.size or 0:,} bytes, the plan returned",
        required="an engine of this TensorRT and GPU, byte for byte the returned plan",
        misconception=likely,
        next_step=next_step,
    )


def _precision(engine: EngineFacts, points: float) -> Finding:
    """Judge the layers' precisions, as the inspector tells them."""
    listing = ", ".join(f"{count} {name}" for name, count in engine.precisions.items())
    unknown = "unknown" in engine.precisions
    likely, step = FP32_LABELLED, "Allow FP16 with a builder flag, and build again."
    if unknown:
        likely = NAMES_ONLY
        step = "Set config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED and build again."
    elif not engine.precisions:
        step = "There is no engine to look into yet."
    return expect(
        "its layers run in FP16",
        engine.is_fp16,
        points,
        measured=f"layers: {listing}" if listing else "no usable engine",
        required="FP16 for most layers, by the engine inspector",
        misconception=likely if engine.precisions else None,
        next_step=step,
    )


def _runs(engine: EngineFacts, points: tuple[float, ...]) -> list[Finding]:
    """Judge the outputs on fresh images, a finding for each batch."""
    return [_run(engine, facts, most) for facts, most in zip(engine.runs, points, strict=True)]


def _run(engine: EngineFacts, facts: RunFacts, points: float) -> Finding:
    profile = engine.profile
    outside = profile is not None and not profile[0] <= facts.batch <= profile[2]
    likely = None
    if outside:
        likely = PROFILE_STATIC if _is_static(engine) else PROFILE_TOO_SMALL
    return expect(
        f"right answers at batch {facts.batch}",
        facts.right,
        points,
        measured=facts,
        required="the course's model's logits, within "
        f"{THRESHOLDS.fp16_logits_tolerance:g} of the largest",
        misconception=likely,
        next_step="Build with a profile that includes this batch."
        if outside
        else "Finish the engine file first."
        if profile is None
        else "Is it built from the ONNX file that was passed, and is that one right (task 1.1)?",
    )


def _is_static(engine: EngineFacts) -> bool:
    return engine.profile is not None and engine.profile[0] == engine.profile[2]


def _profile(evidence: DynamicEngineEvidence, points: float) -> Finding:
    """Judge the profile of the engine, and of the one that the function made of a small model."""
    engine, other = evidence.engine, evidence.other_engine
    wanted, found = THRESHOLDS.profile, engine.profile
    measured, next_step = _batches(found), "Finish the engine file first."
    likely = None
    if found is not None:
        next_step = "set_shape takes the whole shape three times: min, opt, max."
    if found is not None and found != wanted:
        likely = (
            PROFILE_STATIC
            if _is_static(engine)
            else PROFILE_TOO_SMALL
            if found[2] < wanted[2]
            else WRONG_OPT
            if found[1] != wanted[1]
            else None
        )
    elif other.problem or other.profile != wanted:
        measured += f"; of another model: {other.problem or _batches(other.profile)}"
        if evidence.other_model.path_used is False:
            likely, next_step = PATH_IGNORED, "Use the two parameters for every file that you open."
    return expect(
        "the profile's batches",
        found == other.profile == wanted and not other.problem,
        points,
        measured=measured,
        required=_batches(wanted),
        misconception=likely,
        next_step=next_step,
    )


def _batches(profile: tuple[int, int, int] | None) -> str:
    return "no usable engine" if profile is None else "min {} / opt {} / max {}".format(*profile)


def _follows_arguments(build: Build, engine: EngineFacts, points: float) -> Finding:
    """Judge the engine that was made of a model whose weights the function had not seen."""
    ignored = build.path_used is False
    measured = engine.problem
    if ignored:
        measured = "it built another model, or at another path"
    elif engine.size is None:
        measured = build.attempt.error or "no engine of it"
    return expect(
        "it builds whatever ONNX file it is given",
        not engine.problem,
        points,
        measured=measured or "the engine of a small model has that model's answers",
        required="an engine of `onnx_path` at `engine_path`",
        misconception=PATH_IGNORED if ignored else None,
        next_step="Use the two parameters for every file that you open."
        if ignored or build.asked.parsed is None
        else "The other model has the same input; what keeps yours from being built keeps this one "
        "too.",
    )


def _workspace(build: Build, points: float) -> Finding:
    wanted, found = THRESHOLDS.workspace_bytes, build.asked.workspace_bytes
    return expect(
        "the workspace limit",
        # Not observable where the build was asked for by another method than the course's.
        found == wanted or (found is None and build.made_engine),
        points,
        measured="not observable" if found is None else f"{found:,} bytes",
        required=f"{wanted:,} bytes (2 GiB)",
        misconception=WORKSPACE_UNIT if found is not None and found < 1 << 20 else None,
        next_step="Set the limit of the WORKSPACE memory pool; without one, TensorRT may use all "
        "of the GPU's memory."
        if found is not None
        else "This is read off the config when your function builds.",
    )


def _stops_at_parse_error(build: Build, points: float) -> Finding:
    went_on = build.asked.parsed is False and build.asked.built
    other = build.asked.parsed is True
    return expect(
        "it stops at an ONNX file that cannot be parsed",
        build.stopped and not went_on and not other and build.reached_parser,
        points,
        measured="it went on to build"
        if went_on
        else "it parsed another file"
        if other
        else _outcome(build),
        required="an exception or None, no build, no engine file",
        misconception=ERRORS_IGNORED if went_on else PATH_IGNORED if other else None,
        next_step="Look at what the parser returns. If it is False, show every error that it "
        "kept (num_errors, get_error) and stop.",
    )


def _stops_at_failed_build(build: Build, points: float) -> Finding:
    left = build.file_size is not None
    return expect(
        "a failed build leaves no engine file",
        build.stopped and build.asked.built,
        points,
        measured=_outcome(build),
        required="an exception or None, no engine file",
        misconception=WRITTEN_BEFORE_CHECKED if left and build.asked.built else None,
        next_step="build_serialized_network returns None when it fails. Check before you open "
        "the file."
        if build.asked.built
        else "Your function did not get as far as the build.",
    )


def _outcome(build: Build) -> str:
    """Say how a call ended that was meant to fail."""
    ended = {
        "raised": f"it raised {build.attempt.error.split(':')[0]}",
        "done": "it returned None" if build.returned == "nothing" else "it returned a value",
    }.get(build.attempt.stage, "it did not run")
    left = "no file" if build.file_size is None else f"a file of {build.file_size} bytes"
    return f"{ended}, and left {left}"


def _speedup(facts: SpeedFacts, emulated: bool, points: float) -> Finding:
    at_least = THRESHOLDS.fp16_speedup
    engine = facts.engine
    criterion = f"speed-up at batch {facts.batch}, {engine.file}"
    if engine.problem or facts.problem:
        return expect(
            criterion,
            False,
            points,
            measured=engine.problem or facts.problem,
            required=f"at least {at_least:g}x",
            next_step="Finish tasks 2.1 and 2.2 first.",
        )
    if emulated or facts.speedup is None:
        return needs_gpu(criterion, points, required=f"at least {at_least:g}x PyTorch FP32")
    if not engine.is_fp16:
        return expect(
            criterion,
            False,
            points,
            measured=f"{facts.speedup.speedup:.2f}x, but not in FP16",
            required=f"at least {at_least:g}x, by an FP16 engine",
            misconception=FP32_LABELLED,
            next_step="Allow FP16 with a builder flag, and build again.",
        )
    return expect_interval(
        criterion,
        points,
        value=facts.speedup.speedup,
        low=facts.speedup.low,
        high=facts.speedup.high,
        at_least=at_least,
        unit="x",
        next_step="Is anything else using the GPU (nvidia-smi)? Was the engine built on this GPU, "
        "while it was idle, and with enough workspace?",
    )
