import numpy as np
import pytest
import torch
from torch import nn

from trtlab.errors import InferenceError
from trtlab.torch_infer import tf32_set_to, torch_predictor


def switches():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def set_switches():
    """Set PyTorch's two TF32 switches; they are put back after the test."""

    def assign(values):
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = values

    before = switches()
    yield assign
    assign(before)


class Probe(nn.Module):
    """A small model that notes the TF32 switches while it runs, on the class to survive copies."""

    seen = None

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, x):
        Probe.seen = (*switches(), torch.is_inference_mode_enabled())
        return self.layers(x).mean((2, 3))


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((4, 3, 8, 8), dtype=np.float32)


def test_outputs_are_those_of_the_model_in_eval_mode(images):
    model = Probe().train()
    expected = Probe()
    expected.load_state_dict(model.state_dict())
    with torch.no_grad():
        reference = expected.eval()(torch.from_numpy(images)).numpy()
    found = torch_predictor(model)(images)
    assert type(found) is np.ndarray
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, reference)
    assert model.training


def test_read_only_and_strided_arrays_are_taken(images):
    predict = torch_predictor(Probe())
    expected = predict(images)
    images.setflags(write=False)
    np.testing.assert_array_equal(predict(images), expected)
    strided = np.repeat(images, 2, axis=3)[..., ::2]
    np.testing.assert_array_equal(predict(strided), expected)


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("before", [(True, False), (False, True)])
def test_tf32_is_what_was_asked_for_inside_and_as_before_outside(
    images, set_switches, allowed, before
):
    set_switches(before)
    torch_predictor(Probe(), "cpu", tf32=allowed)(images)
    assert Probe.seen == (allowed, allowed, True)
    assert switches() == before


def test_tf32_is_restored_after_an_error():
    before = switches()
    with pytest.raises(KeyError), tf32_set_to(not before[0]):
        raise KeyError
    assert switches() == before


def test_it_runs_a_copy_so_that_later_changes_to_the_model_do_not_matter(images):
    model = Probe()
    predict = torch_predictor(model)
    expected = predict(images)
    with torch.no_grad():
        model.layers[0].weight.zero_()
    np.testing.assert_array_equal(predict(images), expected)


def test_after_close_it_refuses_to_run(images):
    with torch_predictor(Probe()) as predict:
        predict(images)
    predict.close()
    with pytest.raises(InferenceError, match="was closed"):
        predict(images)
