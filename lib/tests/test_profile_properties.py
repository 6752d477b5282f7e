"""Optimization profiles, property by property: what is accepted is what the definition accepts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import SHAPE, export_tiny, tiny_spec
from trtlab.backend.emulated import tensorrt as emulated
from trtlab.build import build_engine
from trtlab.errors import BuildError, InputError
from trtlab.infer import TensorRTInference
from trtlab.spec import ShapeProfile

sizes = st.integers(-1, 9)
shapes = st.lists(sizes, min_size=1, max_size=3).map(tuple)
ordered = st.lists(st.lists(sizes, min_size=3, max_size=3).map(sorted), min_size=1, max_size=3).map(
    lambda dimensions: tuple(zip(*dimensions, strict=True))
)
"""Three shapes of one rank, (min, opt, max), that rise in every dimension."""


@st.composite
def profiles(draw: st.DrawFn) -> ShapeProfile:
    low, best, high = sorted(draw(st.lists(st.integers(1, 7), min_size=3, max_size=3)))
    return ShapeProfile(min=low, opt=best, max=high)


@given(sizes, sizes, sizes)
def test_a_profile_is_accepted_exactly_if_its_batches_rise_from_one(
    low: int, best: int, high: int
) -> None:
    if low >= 1 and best >= low and high >= best:
        profile = ShapeProfile(min=low, opt=best, max=high)
        assert ShapeProfile.model_validate_json(profile.model_dump_json()) == profile
        assert [int(part) for part in str(profile).split("/")] == [low, best, high]
    else:
        with pytest.raises(BuildError, match="1 <= min <= opt <= max"):
            ShapeProfile(min=low, opt=best, max=high)


@given(st.one_of(st.tuples(shapes, shapes, shapes), ordered))
def test_the_emulated_profile_takes_shapes_that_rise_in_every_dimension(
    given_shapes: tuple[tuple[int, ...], ...],
) -> None:
    low, best, high = given_shapes
    profile = emulated.Builder(emulated.Logger()).create_optimization_profile()
    one_rank = len(low) == len(best) == len(high)
    in_order = all(0 <= a <= b <= c for a, b, c in zip(low, best, high, strict=False))
    if one_rank and in_order:
        profile.set_shape("input", low, best, high)
        assert [tuple(shape) for shape in profile.get_shape("input")] == [low, best, high]
    else:
        with pytest.raises(RuntimeError, match="inconsistent"):
            profile.set_shape("input", low, best, high)
        assert profile.get_shape("input") == []


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("profiles"))


@settings(max_examples=20)
@given(st.lists(profiles(), min_size=1, max_size=3))
def test_an_engine_runs_a_batch_exactly_if_the_chosen_profile_holds_it(
    onnx_path: Path, chosen: list[ShapeProfile]
) -> None:
    path = onnx_path.with_suffix(".engine")
    build_engine(onnx_path, path, tiny_spec(profiles=tuple(chosen)))
    for index, profile in enumerate(chosen):
        with TensorRTInference(path, profile=index) as model:
            assert model.max_batch == profile.max
            for batch in range(1, 9):
                images = np.zeros((batch, *SHAPE), np.float32)
                if batch in range(profile.min, profile.max + 1):
                    assert model.infer(images).shape == (batch, 5)
                else:
                    with pytest.raises(InputError, match=str(batch)):
                        model.infer(images)
