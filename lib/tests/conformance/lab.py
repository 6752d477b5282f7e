"""One object for either backend: what a test needs to parse, build, deserialize and run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance import models
from trtlab.backend.compat import explicit_batch_flags, version_tuple

Range = tuple[int, int, int]  # batch sizes min, opt, max


@dataclass
class Parsed:
    """A network and what it came from; all are referenced as long as one is in use."""

    builder: Any
    network: Any
    parser: Any
    ok: bool


class Lab:
    """`trt` and `cuda` of one backend, with a logger that records."""

    def __init__(self, name: str, trt: Any, cuda: Any) -> None:
        self.name, self.trt, self.cuda = name, trt, cuda
        # One logger for all: TensorRT keeps the first one that a process gives it.
        self.log = _recorder(trt)
        self.builder = trt.Builder(self.log)
        self.runtime = trt.Runtime(self.log)

    @property
    def major(self) -> int:
        """TensorRT's major version."""
        return version_tuple(self.trt.__version__)[0]

    def errors(self) -> list[str]:
        """Return the messages at severity ERROR or worse since log.clear()."""
        bad = (self.trt.Logger.ERROR, self.trt.Logger.INTERNAL_ERROR)
        return [text for severity, text in self.log.messages if severity in bad]

    def network(self) -> Any:
        """Return an empty network with an explicit batch."""
        return self.builder.create_network(explicit_batch_flags(self.trt))

    def parse(self, model: bytes) -> Parsed:
        """Parse a model into a new network."""
        network = self.network()
        parser = self.trt.OnnxParser(network, self.log)
        return Parsed(self.builder, network, parser, parser.parse(model))

    def config(self, *flags: str) -> Any:
        """Return a config with builder flags, TF32 off and detailed profiling."""
        config = self.builder.create_builder_config()
        config.clear_flag(self.trt.BuilderFlag.TF32)
        for flag in flags:
            config.set_flag(getattr(self.trt.BuilderFlag, flag))
        config.profiling_verbosity = self.trt.ProfilingVerbosity.DETAILED
        config.builder_optimization_level = 0  # nothing here asks for speed
        return config

    def profile(self, network: Any, batches: Range) -> Any:
        """Return a profile that gives every input of a network these batch sizes."""
        profile = self.builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            rest = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *((batch, *rest) for batch in batches))
        return profile

    def build(
        self,
        model: bytes,
        *flags: str,
        profiles: Sequence[Range] = ((1, 2, 4),),
        prepare: Callable[[Any, Any], None] = lambda network, config: None,
    ) -> Any:
        """Return the plan, None if the build failed. `prepare` sees the network and the config."""
        parsed = self.parse(model)
        assert parsed.ok, self.errors()
        config = self.config(*flags)
        for batches in profiles:
            config.add_optimization_profile(self.profile(parsed.network, batches))
        prepare(parsed.network, config)
        return self.builder.build_serialized_network(parsed.network, config)

    def engine(self, plan: Any) -> Any:
        """Deserialize a plan."""
        engine = self.runtime.deserialize_cuda_engine(plan)
        assert engine is not None, self.errors()
        return engine

    def context(self, plan: Any) -> Any:
        """Return a fresh context of a fresh engine."""
        return self.engine(plan).create_execution_context()


def _recorder(trt: Any) -> Any:
    class Recorder(trt.ILogger):
        """Keeps every message with its severity."""

        def __init__(self):
            trt.ILogger.__init__(self)
            self.messages = []

        def log(self, severity, msg):
            self.messages.append((severity, msg))

        def clear(self):
            self.messages.clear()

    return Recorder()


@dataclass
class Buffers:
    """Device memory for all tensors of a context at its present shapes."""

    lab: Lab
    context: Any
    feeds: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        engine, trt = self.context.engine, self.lab.trt
        for name, array in self.feeds.items():
            assert self.context.set_input_shape(name, array.shape)
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(self.context.get_tensor_shape(name))
            array = np.zeros(shape, trt.nptype(engine.get_tensor_dtype(name)))
            if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
                self.outputs[name] = array
            self.device[name] = self.lab.cuda.mem_alloc(array.nbytes)
            assert self.context.set_tensor_address(name, int(self.device[name]))

    def upload(self, stream: Any) -> None:
        """Queue the copies of the inputs."""
        for name, array in self.feeds.items():
            self.lab.cuda.memcpy_htod_async(self.device[name], array, stream)

    def download(self, stream: Any) -> dict[str, np.ndarray]:
        """Queue the copies of the outputs, wait for the stream, and return them."""
        for name, array in self.outputs.items():
            self.lab.cuda.memcpy_dtoh_async(array, self.device[name], stream)
        stream.synchronize()
        return self.outputs


def run(lab: Lab, context: Any, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    """Run a context once on a stream of its own and return its outputs."""
    stream = lab.cuda.Stream()
    buffers = Buffers(lab, context, feeds)
    buffers.upload(stream)
    assert context.execute_async_v3(stream.handle), lab.errors()
    return buffers.download(stream)


def attempt(lab: Lab, context: Any, batch: int) -> bool:
    """Say whether a context of the CNN takes and runs a batch; nothing is asserted."""
    if not context.set_input_shape("input", (batch, models.CHANNELS, models.SIZE, models.SIZE)):
        return False
    image_bytes = batch * models.CHANNELS * models.SIZE**2 * 4
    memory = {name: lab.cuda.mem_alloc(image_bytes) for name in ("input", "output")}
    for name, allocation in memory.items():
        lab.cuda.memset_d8(allocation, 0, image_bytes)
        context.set_tensor_address(name, int(allocation))
    stream = lab.cuda.Stream()
    done = context.execute_async_v3(stream.handle)
    stream.synchronize()
    return done


def classify(lab: Lab, context: Any, images: np.ndarray) -> np.ndarray:
    """Run a context of the CNN and return its output (N, 5)."""
    return run(lab, context, input=images)["output"]


def logits(images: np.ndarray) -> np.ndarray:
    """Return the CNN's output as ONNX Runtime computes it."""
    return models.expected(models.cnn(), {"input": images})["output"]
