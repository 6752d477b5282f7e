"""Why a student's build function made no engine, told from what it asked TensorRT for.

TensorRT's own messages are about what came next; the steps that were asked for show the reason.
"""

from trtlab.checks.evidence2 import Build, EngineFacts
from trtlab.checks.misconceptions import misconception

Problem = tuple[str, str | None, str]
"""What was measured, the likely misconception, the next step."""

INPUT = "input"
"""Name of the model's input, which profiles are set for."""

NO_EXPLICIT_BATCH = misconception(
    "no-explicit-batch",
    "The network was created without EXPLICIT_BATCH",
    "TensorRT 8.6 still has networks whose batch is implied, and makes one of those unless you ask "
    "for the other kind. ONNX writes the batch down as a dimension, so the parser refuses to fill "
    "such a network, and there is nothing to build.",
)
NO_PROFILE = misconception(
    "no-profile",
    "A dynamic batch was built without an optimization profile",
    "Your ONNX file leaves the batch open. The builder times kernels on real shapes, so it must be "
    "told which ones: without a profile it builds nothing, also where you only ever want batch 1.",
)
PROFILE_NOT_ADDED = misconception(
    "profile-not-added",
    "The profile was made and never handed to the config",
    "A profile that you create and fill is an object of its own. The builder sees only those that "
    "were added to the builder config.",
)
WRONG_TENSOR = misconception(
    "profile-wrong-tensor",
    "The profile is for a tensor that the network does not have",
    "A profile is keyed by the input's name. `set_shape` takes any name without complaint; at the "
    "build, the real input is the one without shapes.",
)
OPT_OUTSIDE = misconception(
    "opt-outside",
    "opt lies outside min and max",
    "min and max bound what the engine accepts, and opt is the shape inside them that kernels are "
    "timed at. In every dimension, min <= opt <= max must hold, else `set_shape` raises.",
)
PATH_IGNORED = misconception(
    "path-ignored",
    "The function does not use its arguments",
    "Your function was given another ONNX file and another engine path, and it did not use them. "
    "Names of files inside the function make it work once, for one model.",
)


def file_problem(engine: EngineFacts, build: Build) -> Problem | None:
    """Return what is wrong with the file: measured, likely misconception, next step."""
    if engine.size is None:
        reason = why_no_engine(build)
        if reason is not None:
            return reason
        return (
            "there is no such file",
            PATH_IGNORED if build.path_used is False else None,
            "Run the cell that calls your function, then this one again.",
        )
    if engine.load_error:
        return engine.load_error, None, "Write the serialized plan, all of it, in binary mode."
    if engine.returned == "the file":
        return None
    what = {
        "not called": "the file is there, but the cell that calls your function has not run",
        "nothing": "the function returned None",
        "another plan": "the function returned other bytes than are in the file",
        "no plan": "the function returned something that is not a serialized engine",
    }[engine.returned]
    return what, None, "Return the plan that you wrote, and run the cell that calls your function."


def why_no_engine(build: Build) -> Problem | None:
    """Return why the function makes no engine of a small model; None if it does."""
    asked = build.asked
    error = build.attempt.error
    if not asked.explicit_batch:
        return error or "no engine was built", NO_EXPLICIT_BATCH, "Look at create_network's flags."
    if any(shapes.refused for shapes in asked.shapes):
        worst = next(shapes for shapes in asked.shapes if shapes.refused)
        step = "Put opt between min and max, in every dimension."
        return f"set_shape refused {worst}: {error}", OPT_OUTSIDE, step
    if asked.built and asked.parsed and not build.made_engine:
        known = {shapes.tensor for shapes in asked.shapes}
        if known and INPUT not in known:
            step = "Read the input's name off the network: network.get_input(0).name."
            return f"profile for {', '.join(sorted(known))}; no plan", WRONG_TENSOR, step
        if known and not asked.profiles_added:
            return "a profile, not added; no plan", PROFILE_NOT_ADDED, "Add it to the config."
        if not known:
            return "no profile; no plan", NO_PROFILE, "Create, fill and add a profile."
    if error:
        return error, None, "Read the message: it names what was wrong."
    if not build.made_engine:
        step = "Build, check for None, write, return: which step is missing?"
        return "no plan comes out", None, step
    return None
