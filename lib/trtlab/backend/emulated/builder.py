"""Builder: from a network and a config to a plan file.

The steps are TensorRT's: check, fuse, calibrate, choose precisions, generate. What cannot be built
is reported through the logger, and build_serialized_network returns None.
"""

import hashlib
import time
from typing import Any

import onnx

from trtlab.backend.emulated import bindings, cuda, facts, graph, precision, profile, ranges
from trtlab.backend.emulated.config import IBuilderConfig
from trtlab.backend.emulated.fusion import FusedLayer, float_tensors, fuse
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.lower import lower
from trtlab.backend.emulated.network import INetworkDefinition
from trtlab.backend.emulated.plan import Metadata, Plan
from trtlab.backend.emulated.precision import BuildFailure
from trtlab.backend.emulated.profile import IOptimizationProfile
from trtlab.backend.emulated.pybind import Managed, expect
from trtlab.backend.emulated.types import (
    BuilderFlag,
    IHostMemory,
    NetworkDefinitionCreationFlag,
    PreviewFeature,
)
from trtlab.backend.emulated.version import VERSION

Profiles = list[dict[str, profile.Range]]


class Builder(Managed):
    """Makes networks, configs and profiles, and builds engines."""

    def __init__(self, logger: Any) -> None:
        self._log = Log(logger)
        self.max_threads = 1

    @property
    def logger(self) -> Any:
        """The logger it was made with."""
        return self._log.logger

    @property
    def platform_has_tf32(self) -> bool:
        """Whether TF32 is available: True, as on every GPU since Ampere."""
        return True

    @property
    def platform_has_fast_fp16(self) -> bool:
        """Whether FP16 is supported: True."""
        return True

    @property
    def platform_has_fast_int8(self) -> bool:
        """Whether INT8 is supported: True."""
        return True

    @property
    def num_DLA_cores(self) -> int:
        """Number of deep learning accelerators: none."""
        return 0

    def reset(self) -> None:
        """Return to the state of a new builder."""
        self.max_threads = 1

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        """Return an empty network; `flags` is 1 << int(NetworkDefinitionCreationFlag....)."""
        if isinstance(flags, float) or not hasattr(flags, "__index__"):
            raise TypeError(f"Incompatible function arguments: flags is an int, not {flags!r}.")
        explicit = int(flags) >> int(NetworkDefinitionCreationFlag.EXPLICIT_BATCH) & 1
        return INetworkDefinition(self, self._log, bool(explicit))

    def create_builder_config(self) -> IBuilderConfig:
        """Return a config with TensorRT's defaults."""
        return IBuilderConfig(self._log, cuda.mem_get_info()[1])

    def create_optimization_profile(self) -> IOptimizationProfile:
        """Return an empty optimization profile."""
        return IOptimizationProfile(self._log)

    def is_network_supported(self, network: INetworkDefinition, config: IBuilderConfig) -> bool:
        """Whether the network is within the restrictions of the config."""
        try:
            self._check(network, config)
        except BuildFailure as failure:
            self._log.error(failure.code, failure.where, str(failure), failure.hint)
            return False
        return True

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        """Build an engine and return its plan file; None on failure, with the reason in the log."""
        expect(network, INetworkDefinition, "network")
        expect(config, IBuilderConfig, "config")
        try:
            return IHostMemory(self._build(network, config).to_bytes())
        except BuildFailure as failure:
            self._log.error(failure.code, failure.where, str(failure), failure.hint)
        self._log.error(
            2, "builder.cpp::buildSerializedNetwork", "Assertion engine != nullptr failed."
        )
        return None

    def _check(self, network: INetworkDefinition, config: IBuilderConfig) -> Profiles:
        """Return the profiles, complete, of a network that can be built.

        Raises:
            BuildFailure: if it has no output, or the profiles or precisions do not fit.
        """
        where = "network.cpp::validate"
        if not network.num_outputs:
            raise BuildFailure(
                4,
                where,
                "Network must have at least one output",
                "Was the ONNX file parsed? OnnxParser.parse returns False on failure.",
            )
        inputs = {name: tuple(network._tensor(name).shape) for name in network._input_names()}
        if not config._profiles and any(-1 in shape for shape in inputs.values()):
            raise BuildFailure(
                4,
                where,
                "Network has dynamic or shape inputs, but no optimization profile has been "
                "defined.",
                f"Inputs: {inputs}. create_optimization_profile(), set_shape(name, min, opt, max), "
                "config.add_optimization_profile(profile).",
            )
        given = [added._ranges for added in config._profiles]
        calibration = config._calibration_profile
        for index, shapes in enumerate([*given, *([calibration._ranges] if calibration else [])]):
            if found := profile.problems(shapes, inputs, index):
                raise BuildFailure(4, where, "; ".join(found))
        precision.check_constraints(network, config)
        return [profile.complete(shapes, inputs) for shapes in given or [{}]]

    def _build(self, network: INetworkDefinition, config: IBuilderConfig) -> Plan:
        started = time.perf_counter()
        profiles = self._check(network, config)
        self._log.info(
            f"Detected {network.num_inputs} inputs and {network.num_outputs} output network "
            "tensors."
        )
        model = bindings.with_binding_types(network)
        bare = graph.skeleton(model)
        _check_shapes(bare, profiles)
        fused = fuse(model)
        floats = float_tensors(model)
        found = ranges.find(network, config, model, profiles[0], self._log)
        if config.get_flag(BuilderFlag.INT8):
            ranges.warn_of_missing(fused, floats, found, self._log)
        layers = precision.choose(fused, network, config, floats, found, self._log)
        self._record(layers, profiles, config)
        try:
            lowered = lower(model, layers, found)
        except ValueError as error:
            raise BuildFailure(
                10, "optimizer.cpp::computeCosts", f"no implementation was found: {error}"
            ) from error
        metadata = Metadata(
            name=network.name,
            tensorrt_version=VERSION,
            tensors=bindings.tensor_facts(network, model),
            profiles=tuple(profiles),
            layers=facts.layer_facts(model, layers),
            verbosity=config.profiling_verbosity.name,
            shares_profiles=config.get_preview_feature(PreviewFeature.PROFILE_SHARING_0806),
            tactic_sources=config.get_tactic_sources(),
            device_memory_bytes=_device_memory(bare, layers, profiles),
        )
        self._log.info(
            f"Engine generation completed in {time.perf_counter() - started:.3f} seconds."
        )
        return Plan(
            metadata=metadata,
            skeleton=bare.SerializeToString(),
            model=lowered.SerializeToString(),
        )

    def _record(self, layers: list[FusedLayer], profiles: Profiles, config: IBuilderConfig) -> None:
        """Record the layers in the timing cache; there are no tactics to time."""
        cache = config.get_timing_cache()
        if cache is None or config.get_flag(BuilderFlag.DISABLE_TIMING_CACHE):
            return
        keys = (f"{layer.kind}|{layer.precision}|{layer.name}|{profiles}" for layer in layers)
        known, new = cache._record(hashlib.sha256(key.encode()).hexdigest() for key in keys)
        self._log.info(f"Timing cache: {known} layers known, {new} added.")


def _check_shapes(bare: onnx.ModelProto, profiles: Profiles) -> None:
    """Refuse profiles at whose minimum, optimum or maximum the network cannot run.

    Raises:
        BuildFailure: with the reason.
    """
    for added in profiles:
        for shapes in zip(*added.values(), strict=True):
            try:
                graph.infer_shapes(bare, dict(zip(added, shapes, strict=True)))
            except graph.ShapeError as error:
                raise BuildFailure(
                    4, "shapeContext.cpp::checkVolume", f"the network cannot run: {error}"
                ) from error


def _device_memory(bare: onnx.ModelProto, layers: list[FusedLayer], profiles: Profiles) -> int:
    """Return the bytes that a context needs at the largest shapes.

    Raises:
        BuildFailure: if the device has less.
    """
    needed = max(
        facts.activation_bytes(bare, layers, {name: high for name, (_, _, high) in added.items()})
        for added in profiles
    )
    free, _ = cuda.mem_get_info()
    if needed > free:
        raise BuildFailure(
            2,
            "virtualMemoryBuffer.cpp::resizePhysical",
            f"OutOfMemory: Requested size was {needed} bytes, {free} are free.",
            "Use a smaller maximum batch, or free device memory first.",
        )
    return needed
