"""Optimization profiles: what a profile may say, and what an engine does with it."""

import pytest

from conformance import models
from conformance.lab import attempt

SHAPES = [(n, 3, 16, 16) for n in (1, 2, 4)]


def test_a_profile_returns_the_shapes_that_were_set(lab):
    profile = lab.builder.create_optimization_profile()
    profile.set_shape("input", *SHAPES)
    assert [tuple(shape) for shape in profile.get_shape("input")] == SHAPES


def test_a_profile_has_no_shape_for_an_input_that_was_not_set(lab):
    assert lab.builder.create_optimization_profile().get_shape("input") == []


def test_profiles_are_numbered_in_the_order_they_are_added(lab):
    network, config = lab.parse(models.cnn()).network, lab.config()
    assert config.add_optimization_profile(lab.profile(network, (1, 2, 4))) == 0
    assert config.add_optimization_profile(lab.profile(network, (5, 6, 8))) == 1
    assert config.num_optimization_profiles == 2


def is_refused(lab, *shapes):
    """Say whether a profile is refused: when it is set, when it is added, or by the build.

    TensorRT 10 raises when the shapes are set; 8.6.0 takes them there.
    """
    parsed, config = lab.parse(models.cnn()), lab.config()
    profile = lab.builder.create_optimization_profile()
    try:
        profile.set_shape("input", *shapes)
    except RuntimeError:
        return True
    if config.add_optimization_profile(profile) < 0:
        return True
    return parsed.builder.build_serialized_network(parsed.network, config) is None


@pytest.mark.parametrize(("low", "best", "high"), [(2, 1, 4), (1, 4, 2), (4, 2, 1)])
def test_shapes_out_of_order_are_refused(lab, low, best, high):
    assert is_refused(lab, *((n, 3, 16, 16) for n in (low, best, high)))


def test_shapes_of_different_rank_are_refused(lab):
    assert is_refused(lab, (1, 3, 16, 16), (2, 3, 16), (4, 3, 16, 16))


def test_negative_sizes_are_refused(lab):
    profile = lab.builder.create_optimization_profile()
    with pytest.raises(RuntimeError, match="inconsistent"):
        profile.set_shape("input", (-1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))


def test_a_shape_is_a_sequence_of_integers(lab):
    profile = lab.builder.create_optimization_profile()
    with pytest.raises(TypeError):
        profile.set_shape("input", 1, 2, 4)


def test_a_dynamic_network_does_not_build_without_a_profile(lab):
    assert lab.build(models.cnn(), profiles=()) is None
    assert any("profile" in text for text in lab.errors())


def test_a_dynamic_network_does_not_build_with_an_empty_profile(lab):
    def add_empty(network, config):
        config.add_optimization_profile(lab.builder.create_optimization_profile())

    assert lab.build(models.cnn(), profiles=(), prepare=add_empty) is None
    assert lab.errors()


def test_a_profile_must_cover_every_dynamic_input(lab):
    def cover_a(network, config):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("a", (1, 4), (2, 4), (4, 4))
        config.add_optimization_profile(profile)

    assert lab.build(models.adder(), profiles=(), prepare=cover_a) is None
    assert any("b" in text for text in lab.errors())


def test_a_profile_must_agree_with_the_static_sizes(lab):
    def widen(network, config):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("input", (1, 3, 16, 16), (2, 3, 32, 32), (4, 3, 32, 32))
        config.add_optimization_profile(profile)

    assert lab.build(models.cnn(), profiles=(), prepare=widen) is None
    assert lab.errors()


def test_an_engine_tells_its_profiles_shapes(lab, two_profile_plan):
    engine = lab.engine(two_profile_plan)
    assert engine.num_optimization_profiles == 2
    for index, batches in enumerate([(1, 2, 4), (5, 6, 8)]):
        shapes = engine.get_tensor_profile_shape("input", index)
        assert [tuple(shape) for shape in shapes] == [(n, 3, 16, 16) for n in batches]


def test_a_static_engine_has_one_profile_of_its_only_shape(lab, static_plan):
    engine = lab.engine(static_plan)
    assert engine.num_optimization_profiles == 1
    shapes = engine.get_tensor_profile_shape("input", 0)
    assert [tuple(shape) for shape in shapes] == [(2, 3, 16, 16)] * 3


def test_a_context_begins_with_the_first_profile(lab, two_profile_plan):
    context = lab.context(two_profile_plan)
    assert context.active_optimization_profile == 0
    assert attempt(lab, context, 4)
    assert not attempt(lab, context, 5)


def test_a_context_can_switch_its_profile(lab, two_profile_plan):
    context, stream = lab.context(two_profile_plan), lab.cuda.Stream()
    assert context.set_optimization_profile_async(1, stream.handle) is True
    stream.synchronize()
    assert context.active_optimization_profile == 1
    assert attempt(lab, context, 5)
    assert not attempt(lab, context, 4)


def test_a_profile_that_does_not_exist_is_refused(lab, two_profile_plan):
    if lab.name == "tensorrt" and lab.major < 10:
        pytest.skip("TensorRT 8.6 crashes the process here; the emulation refuses")
    context, stream = lab.context(two_profile_plan), lab.cuda.Stream()
    with pytest.raises(RuntimeError):
        context.set_optimization_profile_async(2, stream.handle)
    assert lab.errors()
