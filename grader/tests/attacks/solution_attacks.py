"""Attacks by what a solution returns, measures or builds: honest in form, wrong in substance."""

from attacks.table import REACHES, Attack

_WAIT = "self.stream.synchronize()  # before any exception too"
_RETURN = "return host_out.copy()  # the buffer itself is overwritten by the next call"
_SHAPE = "        shape = input_data.shape  # (N, C, H, W)\n"
_FLAG = "    config.set_flag(trt.BuilderFlag.FP16)\n    config.set_memory_pool_limit"
_FLAG_2_2 = "2 * 1024**3)\n    config.set_flag(trt.BuilderFlag.FP16)"
_INT8 = "    config.set_flag(trt.BuilderFlag.INT8)\n"
_NO_FP16 = (
    (_FLAG, "    config.set_memory_pool_limit"),
    (_FLAG_2_2, "2 * 1024**3)"),
)
_WRONG = {"4.1": 1.5, "4.2": 1.25}
"""Of a class that runs as it should, and returns an array of its own with other values."""
_COPY_OUT = "        cuda.memcpy_dtoh_async(host_out, self.device[self.output], self.stream)\n"
_LOOK_UP = """\
        key = {key}
        kept = self.__dict__.setdefault("kept", {{}})
        if key in kept:
            return kept[key].copy()
"""
_KEEP = "kept[key] = host_out.copy()\n        return host_out.copy()"

_LAZY = """return type(
            "Lazy",
            (),
            {
                "__array__": lambda self, *_, **__: host_out.copy(),
                "shape": host_out.shape,
                "dtype": host_out.dtype,
            },
        )()"""
_SUBCLASS = """return np.ones(host_out.shape, np.float32).view(
            type("Liar", (np.ndarray,), {"__eq__": lambda *_: True, "max": lambda *_: 0.0})
        )"""
_READ_CACHE = "return self.cache_file.read_bytes()"
_FORGED_CACHE = """digits = [int(n) for n in trt.__version__.split("+")[0].split(".")]
        version = digits[0] * 1000 + digits[1] * 100 + digits[2]
        return f"TRT-{version}-EntropyCalibration2\\ninput: 3c000000\\n".encode()"""
_ABSENT = "if not self.cache_file.exists():\n            return None\n"
_CLOCK = """\
import time

real = time.perf_counter
time.perf_counter = lambda: real() / 100
"""
_STATISTICS = """\
import numpy as np

np.mean = np.median = np.std = lambda *_: 0.001
np.percentile = lambda *_: (0.001, 0.001)
"""
_LIAR = """class Liar:
        def __init__(self):
            self.asked = 0

        def __float__(self):
            self.asked += 1
            return 0.001 * self.asked

        def __eq__(self, other):
            return True

    mean = median = std = p95 = p99 = Liar()"""
_MEANS = """mean, median, std = np.mean(times_ms), np.median(times_ms), np.std(times_ms)
    p95, p99 = np.percentile(times_ms, [95, 99])"""
_BLIND_INSPECTOR = """\
from trtlab.backend import trt

trt.EngineInspector.get_engine_information = lambda *_: "{}"
"""

ATTACKS = (
    Attack(
        name="returns NaN, so that every comparison is false",
        row="nan",
        lab="04-infer",
        patches=((_RETURN, "return np.full_like(host_out, np.nan)"),),
        points=_WRONG,
    ),
    Attack(
        name="keeps results by the shape of the array",
        row="cached",
        lab="04-infer",
        patches=(
            (_SHAPE, _SHAPE + _LOOK_UP.format(key="shape")),
            (_RETURN, _KEEP),
        ),
        points={"4.1": 2},
    ),
    Attack(
        name="keeps results by the first value of the array",
        row="cached",
        lab="04-infer",
        patches=(
            (_SHAPE, _SHAPE + _LOOK_UP.format(key="(shape, float(input_data.flat[0]))")),
            (_RETURN, _KEEP),
        ),
        points={"4.1": 3.5},  # right wherever it ran; no enqueue is left to refuse
    ),
    Attack(
        name="is right in the first call and repeats itself afterwards",
        row="two-faced",
        lab="04-infer",
        patches=(
            (
                _RETURN,
                "self.first = getattr(self, 'first', host_out.copy())\n"
                "        return np.resize(self.first, host_out.shape)",
            ),
        ),
        points={"4.1": 2.5, "4.2": 1.25},
    ),
    Attack(
        name="returns a lazy object with __array__",
        row="lazy",
        lab="04-infer",
        patches=((_RETURN, _LAZY),),
        points={"4.1": 0.5, "4.2": 1.25},
    ),
    Attack(
        name="returns a subclass of ndarray that equals everything",
        row="lazy",
        lab="04-infer",
        patches=((_RETURN, _SUBCLASS),),
        points=_WRONG,
    ),
    Attack(
        name="leaves the copy to the host on the stream",
        row="lazy",
        lab="04-infer",
        patches=((_WAIT, "pass  # before any exception too"),),
        points=_WRONG,
    ),
    Attack(
        name="overwrites the images that it was given",
        row="inputs",
        lab="04-infer",
        patches=((_RETURN, "input_data[:] = 0\n        return host_out.copy()"),),
        points={"4.1": 3.5},
    ),
    Attack(
        name="leaves the outputs unwritten",
        row="inputs",
        lab="04-infer",
        patches=((_COPY_OUT, ""),),
        points=_WRONG,
    ),
    Attack(
        name="draws logits from a known seed",
        row="seed",
        lab="04-infer",
        patches=(
            (
                _RETURN,
                "return np.random.default_rng(0).standard_normal(host_out.shape, np.float32)",
            ),
        ),
        points=_WRONG,
    ),
    Attack(
        name="calls an FP32 engine resnet50_fp16.engine, and blinds the inspector",
        row="precision",
        lab="02-build",
        patches=_NO_FP16,
        before=_BLIND_INSPECTOR,
        points={"2.1": 4, "2.2": 4},
        human=REACHES,
    ),
    Attack(
        name="calls an FP16 engine resnet50_int8.engine",
        row="precision",
        lab="03-calibrate",
        patches=((_INT8, ""),),
        points={"3.3": 2, "3.4": 1, "3.5": 0},
    ),
    Attack(
        name="forges the calibration cache",
        row="caches",
        lab="03-calibrate",
        patches=((_ABSENT + "        " + _READ_CACHE, _FORGED_CACHE),),
        points={"3.2": 4.5, "3.3": 2, "3.4": 1, "3.5": 0},
    ),
    Attack(
        name="slows the clock down",
        row="timers",
        lab="05-benchmark",
        before=_CLOCK,
        points={"5.1": 1.25, "5.2": 0.3},
        human=REACHES,
    ),
    Attack(
        name="patches the statistics",
        row="timers",
        lab="05-benchmark",
        before=_STATISTICS,
        points={"5.1": 1.25},
        human=REACHES,
    ),
    Attack(
        name="reports numbers that are others each time they are asked",
        row="impossible",
        lab="05-benchmark",
        patches=((_MEANS, _LIAR),),
        points={"5.1": 1.25},
    ),
    Attack(
        name="reports a throughput that no device has",
        row="impossible",
        lab="05-benchmark",
        patches=(("throughput = images_done / elapsed", "throughput = 1e12"),),
        points={"5.2": 0.6},
    ),
    Attack(
        name="returns a constant accuracy, and wants the engines' points for it",
        row="impossible",
        lab="05-benchmark",
        patches=(("    return top1_acc, top5_acc", "    return 100.0, 100.0"),),
        points={"5.3": 0.3, "5.4": 0, "5.5": 0},
    ),
)
