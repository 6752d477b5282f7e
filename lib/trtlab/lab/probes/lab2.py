"""Lab 2: the notebook's engines, and its build functions on small models of secret weights.

What a function asks TensorRT's builder for is noted while it runs; what comes of it is measured on
the engine files, against models that are ours.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnx
from pydantic import BaseModel, ConfigDict

from trtlab.backend import IS_EMULATED
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence2 import (
    Build,
    DynamicEngineEvidence,
    EngineFacts,
    Fp16EngineEvidence,
    SizeEvidence,
    SpeedEvidence,
    SpeedFacts,
)
from trtlab.errors import TrtLabError
from trtlab.files import sha256
from trtlab.lab.artifacts import provided, reference_model
from trtlab.lab.attempts import missing
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.onnx_facts import onnx_runner, torch_runner
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes.lab2_engines import engine_facts, file_size
from trtlab.lab.recording import call_build, small_model
from trtlab.thresholds import THRESHOLDS
from trtlab.workloads import load_workload

FP16_ENGINE, DYNAMIC_ENGINE = "resnet50_fp16.engine", "resnet50_dynamic_fp16.engine"
DYNAMIC_BATCHES = (1, 5, 32)
"""The smallest, one that is no power of two, and the largest of the profile."""
SPEED_BATCHES = {1: FP16_ENGINE, 8: DYNAMIC_ENGINE}
IMAGE = (3, 224, 224)
PARSABLE, UNPARSABLE = "0.onnx", "1.onnx"


class Call(NamedTuple):
    """A call of a build function; `fail`: the builder returns None."""

    model: str
    engine: str
    fail: bool = False


OTHER_MODEL = Call(PARSABLE, "0.engine")
UNPARSABLE_MODEL = Call(UNPARSABLE, "1.engine")
FAILED_BUILD = Call(PARSABLE, "2.engine", fail=True)


class Returned(BaseModel):
    """What the notebook keeps of its build function's return value; `sha256` is a plan's."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["not called", "nothing", "no plan", "a plan"]
    sha256: str = ""


class BuildObserved(Observed):
    """What a build function returned in the notebook, and how each call of it here went."""

    returned: Returned = Returned(what="not called")
    builds: tuple[Build, ...] = ()


class _BuildProbe(Probe[BuildObserved]):
    """Calls a build function.

    Attributes:
        function: its name.
        variable: the notebook's name for what it returned.
        calls: those to make.
    """

    observed = BuildObserved
    function: str
    variable: str
    calls: Sequence[Call]

    def give(self, given: Path, seed: int) -> None:
        """Write a model, and one that no TensorRT can parse."""
        onnx.save(small_model(seed), given / PARSABLE)
        onnx.save(small_model(seed, parsable=False), given / UNPARSABLE)

    def run(self, names: Names, given: Path, made: Path) -> BuildObserved:
        """Make the calls, each to an engine file of its own."""
        function = names.get(self.function)
        if not callable(function):
            return BuildObserved(attempt=missing(self.function))
        builds = [
            call_build(
                function,
                self.function,
                (given / call.model).read_bytes(),
                made / call.engine,
                fail=call.fail,
            )
            for call in self.calls
        ]
        return BuildObserved(
            attempt=_begun(builds[0].attempt),
            returned=_returned(names, self.variable),
            builds=tuple(builds),
        )

    def builds(self, observed: BuildObserved, scene: Scene) -> list[Build]:
        """Return what was observed of each call, with the sizes of the files that are there.

        Raises:
            ExchangeError: if it is not one for each call.
        """
        if len(observed.builds) != len(self.calls):
            raise ExchangeError(f"{len(observed.builds)} builds for {len(self.calls)} calls")
        return [
            build.model_copy(update={"file_size": file_size(scene.made / call.engine)})
            for call, build in zip(self.calls, observed.builds, strict=True)
        ]


@probe("2.1")
class Fp16Engine(_BuildProbe):
    """The FP16 engine; its function on a small model, a broken one, and in a failing build."""

    function, variable = "build_engine_fp16", "engine_fp16"
    calls = (OTHER_MODEL, UNPARSABLE_MODEL, FAILED_BUILD)

    def evidence(self, observed: BuildObserved, scene: Scene) -> Fp16EngineEvidence:
        """Look into both engines and run them."""
        if observed.attempt.stage != "done":
            nothing = Build(attempt=observed.attempt)
            return Fp16EngineEvidence(
                attempt=observed.attempt,
                engine=EngineFacts(file=FP16_ENGINE),
                other_model=nothing,
                other_engine=EngineFacts(file=OTHER_MODEL.engine),
                unparsable=nothing,
                failed=nothing,
            )
        other_model, unparsable, failed = self.builds(observed, scene)
        batches = (THRESHOLDS.fixed_profile_batch,)
        return Fp16EngineEvidence(
            attempt=observed.attempt,
            engine=_deliverable(scene, FP16_ENGINE, batches, observed.returned),
            other_model=other_model,
            other_engine=_other_engine(scene),
            unparsable=unparsable,
            failed=failed,
        )


@probe("2.2")
class DynamicEngine(_BuildProbe):
    """The dynamic engine, and its function on a small model."""

    function, variable = "build_engine_dynamic", "engine_dynamic"
    calls = (OTHER_MODEL,)

    def evidence(self, observed: BuildObserved, scene: Scene) -> DynamicEngineEvidence:
        """Look into both engines and run them."""
        if observed.attempt.stage != "done":
            return DynamicEngineEvidence(
                attempt=observed.attempt,
                engine=EngineFacts(file=DYNAMIC_ENGINE),
                other_model=Build(attempt=observed.attempt),
                other_engine=EngineFacts(file=OTHER_MODEL.engine),
            )
        (other_model,) = self.builds(observed, scene)
        return DynamicEngineEvidence(
            attempt=observed.attempt,
            engine=_deliverable(scene, DYNAMIC_ENGINE, DYNAMIC_BATCHES, observed.returned),
            other_model=other_model,
            other_engine=_other_engine(scene),
        )


class _FileProbe(Probe[Observed]):
    """Looks at the engines that are there; the kernel has nothing to do."""

    observed = Observed

    def run(self, names: Names, given: Path, made: Path) -> Observed:
        """Do nothing."""
        return Observed(attempt=Attempt(stage="done", what="the FP16 engines"))


@probe("2.3")
class Fp16Speed(_FileProbe):
    """Both engines, timed."""

    def evidence(self, observed: Observed, scene: Scene) -> SpeedEvidence:
        """Let the bench compare each with PyTorch."""
        speedups = []
        for batch, file in SPEED_BATCHES.items():
            facts = SpeedFacts(engine=_deliverable(scene, file, (batch,)), batch=batch)
            if not facts.engine.problem:
                try:
                    facts.speedup = scene.bench.speedup(scene.folder / file, batch)
                except TrtLabError as error:
                    facts.problem = str(error)
            speedups.append(facts)
        return SpeedEvidence(attempt=observed.attempt, emulated=IS_EMULATED, speedups=speedups)


@probe("2.4")
class Fp16Size(_FileProbe):
    """The FP16 engine, weighed."""

    def evidence(self, observed: Observed, scene: Scene) -> SizeEvidence:
        """Run the engine, so that its size is that of the course's model; weigh the FP32 engine."""
        return SizeEvidence(
            attempt=observed.attempt,
            emulated=IS_EMULATED,
            engine=_deliverable(scene, FP16_ENGINE),
            fp32_bytes=provided("resnet50_fp32.engine").stat().st_size,
        )


def _begun(tried: Attempt) -> Attempt:
    """Return the attempt that a check's evidence begins with.

    An exception is for the check to explain, which knows what was asked of TensorRT before it.
    """
    return Attempt(stage="done", what=tried.what) if tried.stage == "raised" else tried


def _returned(names: Names, variable: str) -> Returned:
    if variable not in names:
        return Returned(what="not called")
    value = names[variable]
    if value is None:
        return Returned(what="nothing")
    try:
        plan = bytes(memoryview(value))
    except (TypeError, ValueError, BufferError):
        return Returned(what="no plan")
    return Returned(what="a plan", sha256=hashlib.sha256(plan).hexdigest())


def _deliverable(
    scene: Scene,
    file: str,
    batches: Sequence[int] = (),
    returned: Returned | None = None,
) -> EngineFacts:
    """Look into an engine of the lab's folder, and run it on images that were never seen before."""
    path = scene.folder / file
    count = max(batches, default=THRESHOLDS.profile[2])
    loader = load_workload().loader("validation", count, scene.seed, batch_size=count)
    images, _ = next(iter(loader))
    reference = torch_runner(reference_model()[1])
    facts = engine_facts(scene.bench, path, batches, images.numpy(), reference)
    if returned is not None and facts.size is not None:
        if returned.what == "a plan":
            facts.returned = "the file" if returned.sha256 == sha256(path) else "another plan"
        else:
            facts.returned = returned.what
    return facts


def _other_engine(scene: Scene) -> EngineFacts:
    """Look into the engine of the small model, and run it at the batch that it is tuned for."""
    rng = np.random.default_rng((scene.seed, 1))
    images = rng.standard_normal((THRESHOLDS.profile[2], *IMAGE), np.float32)
    reference = onnx_runner(small_model(scene.seed))
    return engine_facts(scene.bench, scene.made / OTHER_MODEL.engine, (), images, reference)
