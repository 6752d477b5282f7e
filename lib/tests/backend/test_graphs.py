"""Graphs against a driver that writes down what it is asked; the real one is in tests/inference."""

import ctypes
import types

import pytest

from trtlab.backend.graphs import _FUNCTIONS, Graph
from trtlab.errors import InferenceError

STREAM, GRAPH, READY = 0x7F0000001000, 0x7F0000002000, 0x7F0000003000
UNSUPPORTED = 900


class Driver:
    """Functions of the driver's C interface: those named in `failing` return an error."""

    def __init__(self, failing=()):
        self.asked, self.failing = [], failing
        self.functions = types.SimpleNamespace()
        for name, arguments in _FUNCTIONS.items():
            # Through C and back: a handle that is cut to 32 bits on the way would show.
            function = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(
                lambda *given, name=name: self.answer(name, *given)
            )
            setattr(self.functions, name, function)

    def answer(self, name, *given):
        if name == "cuGetErrorName":
            given[1][0] = ctypes.c_char_p(b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
            return 0
        handles = [value for value in given if isinstance(value, int)]
        self.asked.append((name, *handles))
        if name in self.failing:
            return UNSUPPORTED
        if name == "cuStreamEndCapture":
            given[1][0] = GRAPH
        if name == "cuGraphInstantiateWithFlags":
            given[0][0] = READY
        return 0


def names(driver):
    return [name for name, *_ in driver.asked]


def test_what_is_queued_once_is_launched_again_and_freed():
    driver = Driver()
    graph = Graph(driver.functions, STREAM, lambda: driver.asked.append(("queue",)))
    graph()
    graph()
    del graph
    assert driver.asked == [
        ("cuStreamBeginCapture_v2", STREAM, 1),
        ("queue",),
        ("cuStreamEndCapture", STREAM),
        ("cuGraphInstantiateWithFlags", GRAPH, 0),
        ("cuGraphDestroy", GRAPH),
        ("cuGraphLaunch", READY, STREAM),
        ("cuGraphLaunch", READY, STREAM),
        ("cuGraphExecDestroy", READY),
    ]


def test_an_error_while_queueing_ends_the_recording_and_is_passed_on():
    driver = Driver()

    def queue():
        raise InferenceError("a layer that synchronises")

    with pytest.raises(InferenceError, match="synchronises"):
        Graph(driver.functions, STREAM, queue)
    assert names(driver) == ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphDestroy"]


@pytest.mark.parametrize(
    ("failing", "last"),
    [
        ("cuStreamBeginCapture_v2", "cuStreamBeginCapture_v2"),
        ("cuStreamEndCapture", "cuStreamEndCapture"),
        ("cuGraphInstantiateWithFlags", "cuGraphDestroy"),
    ],
)
def test_a_refusal_has_the_drivers_reason_and_leaves_nothing(failing, last):
    driver = Driver([failing])
    with pytest.raises(InferenceError, match="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        Graph(driver.functions, STREAM, lambda: None)
    assert names(driver)[-1] == last
    assert "cuGraphExecDestroy" not in names(driver)


def test_a_launch_that_is_refused_says_so():
    driver = Driver(["cuGraphLaunch"])
    graph = Graph(driver.functions, STREAM, lambda: None)
    with pytest.raises(InferenceError, match="refused"):
        graph()
