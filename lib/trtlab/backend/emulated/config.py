"""IBuilderConfig: how a network is to be built."""

from typing import Any

from trtlab.backend.emulated import timing_cache
from trtlab.backend.emulated.calibration import IInt8Calibrator
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.profile import IOptimizationProfile
from trtlab.backend.emulated.pybind import Managed, buffer, expect
from trtlab.backend.emulated.timing_cache import ITimingCache
from trtlab.backend.emulated.types import (
    BuilderFlag,
    MemoryPoolType,
    PreviewFeature,
    ProfilingVerbosity,
    TacticSource,
)

_GIB = 1 << 30
_MAX_OPTIMIZATION_LEVEL = 5


class IBuilderConfig(Managed):
    """Precisions, profiles, memory limits and the rest of what Builder.build_* wants to know.

    TF32 is set from the start, as in TensorRT, but the emulation does not round the inputs of FP32
    convolutions to TF32's 10 mantissa bits: FP32 layers compute in full FP32.
    """

    def __init__(self, log: Log, device_memory: int) -> None:
        self._log = log
        self._device_memory = device_memory
        self.reset()

    def reset(self) -> None:
        """Return to the state of a new config."""
        self.flags = 1 << int(BuilderFlag.TF32)
        self.avg_timing_iterations = 1
        self._profiles: list[IOptimizationProfile] = []
        self._calibration_profile: IOptimizationProfile | None = None
        self._calibrator: IInt8Calibrator | None = None
        self._verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self._optimization_level = 3
        self._timing_cache: ITimingCache | None = None
        self._preview: set[PreviewFeature] = set()
        self._tactic_sources = sum(1 << int(source) for source in TacticSource)
        self._pools = {
            MemoryPoolType.WORKSPACE: self._device_memory,
            MemoryPoolType.TACTIC_DRAM: self._device_memory,
            MemoryPoolType.DLA_MANAGED_SRAM: 0,
            MemoryPoolType.DLA_LOCAL_DRAM: _GIB,
            MemoryPoolType.DLA_GLOBAL_DRAM: _GIB // 2,
        }

    def set_flag(self, flag: BuilderFlag) -> None:
        """Set a flag."""
        self.flags |= 1 << int(expect(flag, BuilderFlag, "flag"))

    def clear_flag(self, flag: BuilderFlag) -> None:
        """Clear a flag."""
        self.flags &= ~(1 << int(expect(flag, BuilderFlag, "flag")))

    def get_flag(self, flag: BuilderFlag) -> bool:
        """Whether a flag is set."""
        return bool(self.flags >> int(expect(flag, BuilderFlag, "flag")) & 1)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        """Limit a memory pool, in bytes. The emulation needs no workspace and records the limit."""
        expect(pool, MemoryPoolType, "pool")
        whole = hasattr(pool_size, "__index__") and not isinstance(pool_size, float)
        if not whole or not 0 <= pool_size < 1 << 64:  # a size_t
            raise TypeError(
                "Incompatible function arguments: pool_size is a number of bytes, an int from 0 "
                f"to 2**64 - 1, not {pool_size!r}."
            )
        self._pools[pool] = int(pool_size)

    def get_memory_pool_limit(self, pool: MemoryPoolType) -> int:
        """Return the limit of a memory pool in bytes."""
        return self._pools[expect(pool, MemoryPoolType, "pool")]

    @property
    def num_optimization_profiles(self) -> int:
        """Number of profiles added."""
        return len(self._profiles)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        """Add a profile and return its index."""
        self._profiles.append(expect(profile, IOptimizationProfile, "profile"))
        return len(self._profiles) - 1

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        """Set the profile whose OPT shape calibration runs at."""
        self._calibration_profile = expect(profile, IOptimizationProfile, "profile")
        return True

    def get_calibration_profile(self) -> IOptimizationProfile | None:
        """Return the calibration profile, None if it is not set."""
        return self._calibration_profile

    @property
    def int8_calibrator(self) -> IInt8Calibrator | None:
        """The calibrator that INT8 ranges come from."""
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, calibrator: IInt8Calibrator | None) -> None:
        if calibrator is not None:
            expect(calibrator, IInt8Calibrator, "int8_calibrator")
        self._calibrator = calibrator

    @property
    def profiling_verbosity(self) -> ProfilingVerbosity:
        """How much the engine will tell the inspector."""
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, verbosity: ProfilingVerbosity) -> None:
        self._verbosity = expect(verbosity, ProfilingVerbosity, "profiling_verbosity")

    @property
    def builder_optimization_level(self) -> int:
        """How hard the builder searches, 0 to 5; the emulation has nothing to search."""
        return self._optimization_level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        if not isinstance(level, int):
            raise TypeError(f"builder_optimization_level is an int, not {level!r}.")
        if not 0 <= level <= _MAX_OPTIMIZATION_LEVEL:
            self._log.error(
                3,
                "optimizationConfig.cpp::setBuilderOptimizationLevel",
                f"Parameter check failed, condition: 0 <= level <= {_MAX_OPTIMIZATION_LEVEL}, "
                f"got {level}",
            )
            return
        self._optimization_level = level

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache | None:
        """Return a cache from the bytes that one serialized to; b"" makes an empty one."""
        cache = timing_cache.deserialize(buffer(serialized_timing_cache, "serialized_timing_cache"))
        if cache is None:
            self._log.error(
                1,
                "timingCache.cpp::deserialize",
                "the buffer is no timing cache of the emulated TensorRT 8.6",
                "Timing caches are tied to a TensorRT version; start with b'' and keep the new.",
            )
        return cache

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """Use a timing cache; the build adds to it."""
        self._timing_cache = expect(cache, ITimingCache, "cache")
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        """Return the timing cache in use, None if none is set."""
        return self._timing_cache

    def set_preview_feature(self, feature: PreviewFeature, enable: bool) -> None:
        """Enable or disable a preview feature."""
        expect(feature, PreviewFeature, "feature")
        (self._preview.add if enable else self._preview.discard)(feature)

    def get_preview_feature(self, feature: PreviewFeature) -> bool:
        """Whether a preview feature is enabled."""
        return expect(feature, PreviewFeature, "feature") in self._preview

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """Choose the kernel libraries by a bit mask; the emulation records the choice."""
        self._tactic_sources = int(tactic_sources)
        return True

    def get_tactic_sources(self) -> int:
        """Return the kernel libraries as a bit mask."""
        return self._tactic_sources
