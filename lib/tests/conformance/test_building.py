"""The builder config, the timing cache, and what build_serialized_network makes or refuses."""

import pytest

from conformance import models


def test_tf32_is_on_and_the_other_precisions_are_off_at_first(lab):
    flag, config = lab.trt.BuilderFlag, lab.builder.create_builder_config()
    assert config.get_flag(flag.TF32)
    assert not config.get_flag(flag.FP16)
    assert not config.get_flag(flag.INT8)


@pytest.mark.parametrize(
    "name",
    ["FP16", "INT8", "TF32", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"],
)
def test_a_flag_can_be_set_and_cleared(lab, name):
    flag, config = getattr(lab.trt.BuilderFlag, name), lab.builder.create_builder_config()
    config.set_flag(flag)
    assert config.get_flag(flag) is True
    assert config.flags >> int(flag) & 1
    config.clear_flag(flag)
    assert config.get_flag(flag) is False


def test_a_flag_is_no_plain_integer(lab):
    with pytest.raises(TypeError):
        lab.builder.create_builder_config().set_flag(0)


def test_the_workspace_limit_is_kept_in_bytes(lab):
    pool, config = lab.trt.MemoryPoolType.WORKSPACE, lab.builder.create_builder_config()
    config.set_memory_pool_limit(pool, 64 << 20)
    assert config.get_memory_pool_limit(pool) == 64 << 20


@pytest.mark.parametrize("size", [-1, 1.5, 2**64])
def test_a_workspace_that_is_no_64_bit_size_is_refused_by_the_binding(lab, size):
    pool, config = lab.trt.MemoryPoolType.WORKSPACE, lab.builder.create_builder_config()
    before = config.get_memory_pool_limit(pool)
    with pytest.raises(TypeError):
        config.set_memory_pool_limit(pool, size)
    assert config.get_memory_pool_limit(pool) == before


def test_the_workspace_is_limited_by_the_device_only_at_first(lab):
    pool, config = lab.trt.MemoryPoolType.WORKSPACE, lab.builder.create_builder_config()
    assert config.get_memory_pool_limit(pool) == lab.cuda.Device(0).total_memory()


def test_the_optimization_level_is_3_at_first_and_can_be_set(lab):
    config = lab.builder.create_builder_config()
    assert config.builder_optimization_level == 3
    config.builder_optimization_level = 5
    assert config.builder_optimization_level == 5


def test_the_profiling_verbosity_is_layer_names_only_at_first_and_can_be_set(lab):
    verbosity, config = lab.trt.ProfilingVerbosity, lab.builder.create_builder_config()
    assert config.profiling_verbosity == verbosity.LAYER_NAMES_ONLY
    config.profiling_verbosity = verbosity.DETAILED
    assert config.profiling_verbosity == verbosity.DETAILED


def test_profile_sharing_is_a_preview_feature(lab):
    feature = lab.trt.PreviewFeature.PROFILE_SHARING_0806
    config = lab.builder.create_builder_config()
    config.set_preview_feature(feature, True)
    assert config.get_preview_feature(feature) is True


def test_reset_returns_a_config_to_its_beginning(lab):
    flag, config = lab.trt.BuilderFlag, lab.builder.create_builder_config()
    config.set_flag(flag.FP16)
    config.clear_flag(flag.TF32)
    config.reset()
    assert [config.get_flag(flag.FP16), config.get_flag(flag.TF32)] == [False, True]


def test_the_platform_says_what_it_has(lab):
    assert lab.builder.platform_has_fast_fp16 is True
    assert lab.builder.platform_has_fast_int8 is True


def test_a_static_network_builds_without_a_profile(lab, static_plan):
    assert static_plan is not None


def test_a_plan_is_a_buffer_of_nbytes_bytes(lab, plan):
    assert plan.nbytes > 0
    assert len(bytes(plan)) == plan.nbytes


def test_a_network_without_outputs_does_not_build(lab):
    def unmark(network, config):
        network.unmark_output(network.get_output(0))

    assert lab.build(models.cnn(), prepare=unmark) is None
    assert lab.errors()


def test_an_empty_network_does_not_build(lab):
    config = lab.config()
    assert lab.builder.build_serialized_network(lab.network(), config) is None
    assert lab.errors()


def test_an_fp16_engine_keeps_float_inputs_and_outputs(lab):
    engine = lab.engine(lab.build(models.cnn(), "FP16"))
    assert engine.get_tensor_dtype("input") == lab.trt.float32
    assert engine.get_tensor_dtype("output") == lab.trt.float32


def test_an_input_can_be_given_as_half(lab):
    def half(network, config):
        network.get_input(0).dtype = lab.trt.float16

    engine = lab.engine(lab.build(models.cnn(), "FP16", prepare=half))
    assert engine.get_tensor_dtype("input") == lab.trt.float16


def test_a_network_name_becomes_the_engine_name(lab):
    def rename(network, config):
        network.name = "tiny"

    engine = lab.engine(lab.build(models.cnn(2), profiles=(), prepare=rename))
    assert engine.name == "tiny"


# Timing cache


def test_an_empty_timing_cache_can_be_set(lab):
    config = lab.builder.create_builder_config()
    cache = config.create_timing_cache(b"")
    assert config.set_timing_cache(cache, ignore_mismatch=False) is True
    assert config.get_timing_cache() is not None


@pytest.fixture(scope="module")
def filled_timing_cache(lab):
    """The serialized timing cache of a build."""
    found = {}

    def use_cache(network, config):
        config.builder_optimization_level = 3  # at 0 nothing is timed
        cache = config.create_timing_cache(b"")
        assert config.set_timing_cache(cache, ignore_mismatch=False)
        found["empty"], found["config"] = bytes(cache.serialize()), config

    assert lab.build(models.cnn(2), profiles=(), prepare=use_cache) is not None
    return found["empty"], bytes(found["config"].get_timing_cache().serialize())


def test_a_build_fills_the_timing_cache(filled_timing_cache):
    empty, filled = filled_timing_cache
    assert len(filled) > len(empty)


def test_a_timing_cache_survives_serialization(lab, filled_timing_cache):
    _, filled = filled_timing_cache
    config = lab.builder.create_builder_config()
    cache = config.create_timing_cache(filled)
    assert len(bytes(cache.serialize())) == len(filled)
    assert config.set_timing_cache(cache, ignore_mismatch=False) is True


def test_timing_caches_can_be_combined(lab, filled_timing_cache):
    _, filled = filled_timing_cache
    config = lab.builder.create_builder_config()
    target, source = config.create_timing_cache(b""), config.create_timing_cache(filled)
    # 8.6.0 without cuBLAS and cuDNN refuses, as it cannot vouch for all tactics of the cache.
    if target.combine(source, ignore_mismatch=False):
        assert len(bytes(target.serialize())) == len(filled)
    else:
        assert lab.name == "tensorrt"


def test_a_timing_cache_can_be_reset(lab, filled_timing_cache):
    empty, filled = filled_timing_cache
    cache = lab.builder.create_builder_config().create_timing_cache(filled)
    assert cache.reset() is True
    assert len(bytes(cache.serialize())) == len(empty)


# Logger


def test_a_logger_of_ones_own_receives_messages_with_their_severity(lab):
    lab.build(models.cnn(2), profiles=())
    severities = {severity for severity, _ in lab.log.messages}
    assert severities <= set(lab.trt.Logger.Severity.__members__.values())
    assert lab.trt.Logger.INFO in severities or lab.trt.Logger.VERBOSE in severities
    assert all(isinstance(text, str) and text for _, text in lab.log.messages)


def test_the_default_logger_prints_what_is_severe_enough(lab, capfd):
    logger = lab.trt.Logger(lab.trt.Logger.WARNING)
    logger.log(lab.trt.Logger.INFO, "an aside")
    logger.log(lab.trt.Logger.ERROR, "a failure")
    printed = capfd.readouterr().out
    assert "[TRT] [E] a failure" in printed
    assert "an aside" not in printed


def test_a_logger_whose_base_was_not_initialised_is_refused(lab):
    class Forgetful(lab.trt.ILogger):
        def __init__(self):
            self.messages = []

        def log(self, severity, msg): ...

    with pytest.raises(TypeError, match="__init__"):
        Forgetful()
