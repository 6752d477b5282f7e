"""What inputs may be: NumPy, PyTorch on CPU and GPU, DLPack, the CUDA array interface."""

import numpy as np
import pytest
import torch

from inference.conftest import images
from trtlab.errors import InputError
from trtlab.fast_infer import FastInference
from trtlab.handover import dtype_of, stand_in, taken

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class OnlyDlpack:
    """An array of some library that knows DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyCudaArrayInterface:
    """The like for `__cuda_array_interface__`, made on a stream of its own."""

    def __init__(self, tensor, stream):
        self.tensor = tensor
        self.__cuda_array_interface__ = tensor.__cuda_array_interface__ | {
            "version": 3,
            "stream": stream.cuda_stream,
        }


@pytest.mark.parametrize(
    "wrap",
    [lambda x: x, torch.from_numpy, OnlyDlpack, lambda x: OnlyDlpack(torch.from_numpy(x))],
    ids=["numpy", "torch", "dlpack of numpy", "dlpack of torch"],
)
def test_arrays_on_the_host_are_taken_without_a_copy(wrap):
    x = images(2)
    found = taken(wrap(x), "input")
    assert isinstance(found, np.ndarray)
    assert np.shares_memory(found, x)


def test_a_tensor_that_is_trained_is_taken_as_it_is():
    assert isinstance(taken(torch.zeros(2, requires_grad=True), "input"), np.ndarray)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        ("text", "is a str, expected an array"),
        (torch.zeros(2, dtype=torch.bfloat16), "that NumPy cannot take"),
        (torch.zeros(2, device="meta"), "that NumPy cannot take"),
        (OnlyDlpack(np.array(["text"])), "cannot be handed over"),
    ],
)
def test_what_is_no_array_is_refused_by_name(x, reason):
    with pytest.raises(InputError, match=f"Input 'picture'.*{reason}"):
        taken(x, "picture")


def test_the_stand_in_has_shape_and_dtype():
    tensor = torch.empty((2, 3), dtype=torch.float16, device="meta")
    assert (stand_in(tensor).shape, stand_in(tensor).dtype) == ((2, 3), np.float16)
    assert dtype_of(torch.empty(0, dtype=torch.bfloat16)) == np.dtype("O")


@pytest.mark.parametrize("wrap", [torch.from_numpy, OnlyDlpack], ids=["torch", "dlpack"])
def test_the_engine_takes_them(engine_path, expected, wrap):
    with FastInference(engine_path) as fast:
        np.testing.assert_allclose(fast.infer(wrap(images(3))), expected(images(3)), atol=1e-4)


@needs_gpu
class TestOnTheGpu:
    def test_the_engine_waits_for_what_makes_the_input(self, engine_path, expected):
        x = torch.from_numpy(images(8)).cuda()
        side = torch.cuda.Stream()
        with FastInference(engine_path) as fast:
            for _ in range(20):
                late = torch.zeros_like(x)
                torch.cuda.synchronize()
                with torch.cuda.stream(side):
                    torch.cuda._sleep(10_000_000)
                    late.copy_(x)
                    found = [fast.infer(late), fast.infer(OnlyDlpack(late))]
                found.append(fast.infer(OnlyCudaArrayInterface(late, side)))
                for result in found:
                    np.testing.assert_allclose(result, expected(images(8)), atol=1e-3)

    def test_layouts_and_a_stream_of_them(self, engine_path, expected):
        x = torch.from_numpy(images(8)).cuda()
        with FastInference(engine_path) as fast:
            strided = x.to(memory_format=torch.channels_last)
            np.testing.assert_allclose(fast.infer(strided), expected(images(8)), atol=1e-3)
            for found in fast.stream([x, x[:3], strided] * 4):
                np.testing.assert_allclose(found, expected(images(8))[: len(found)], atol=1e-3)

    def test_results_may_stay_there(self, engine_path, expected):
        x = torch.from_numpy(images(4)).cuda()
        with FastInference(engine_path) as fast:
            for out in (torch.empty((4, 5), device="cuda"), torch.empty((5, 4), device="cuda").T):
                fast.infer(x, out=out)
                np.testing.assert_allclose(out.cpu(), expected(images(4)), atol=1e-3)

    def test_results_are_in_order_with_what_else_is_done_with_them(self, engine_path, expected):
        x = torch.from_numpy(images(4)).cuda()
        with FastInference(engine_path) as fast, torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                out = torch.full((4, 5), -1.0, device="cuda")
                torch.cuda._sleep(10_000_000)
                before = out.clone()
                fast.infer(x, out=out)
                after = out * 2
                assert (before == -1).all()
                np.testing.assert_allclose(after.cpu(), 2 * expected(images(4)), atol=1e-3)

    def test_the_dtype_is_checked_there_as_well(self, engine_path):
        with FastInference(engine_path) as fast, pytest.raises(InputError, match="float16"):
            fast.infer(torch.zeros((2, 3, 8, 8), dtype=torch.float16, device="cuda"))
