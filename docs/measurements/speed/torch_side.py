"""PyTorch's side of compiled.py, in a process of its own: imports nothing of trtlab.

    python torch_side.py WEIGHTS --classes 10 --batches 1,32 --seconds 2

torch.compile needs Triton, which the interpreter that has TensorRT may lack. WEIGHTS is a state
dict of torchvision's resnet50. Every line on stdout is a JSON object, written as soon as it is
measured, so that a run that is cut short leaves what is done.

max-autotune compiles two thousand kernels before it chooses, which takes minutes on 16 cores.
With TORCHINDUCTOR_CACHE_DIR set, a run finds those that an earlier one compiled; with cache,
fxgraph, aotautograd and every *.best_config deleted from that folder, it times and chooses anew.
"""

import argparse
import itertools
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision

WARMUP = 10
SHAPE = (3, 224, 224)
INPUT_BYTES = 256 << 20  # of the inputs that the calls rotate through

# What is there at once comes first: compiling may not come to an end in time.
VARIANTS = {"fp16-eager": False, "fp16-compiled": True}
"""Ways to run the model, all FP16 and channels-last, and whether it is compiled."""


def main() -> None:
    """Measure every variant at every batch, host to host and on the device."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--batches", required=True, help="separated by commas")
    parser.add_argument("--seconds", type=float, required=True, help="of one measurement")
    arguments = parser.parse_args()
    cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    tell(
        python=platform.python_version(),
        torch=torch.__version__,
        kernels_compiled_before=len(list(Path(cache).rglob("*.cubin"))) if cache else 0,
    )
    state = torch.load(arguments.weights, map_location="cpu", weights_only=True)
    for variant, compiled in VARIANTS.items():
        for batch in map(int, arguments.batches.split(",")):
            model = torchvision.models.resnet50(num_classes=arguments.classes)
            model.load_state_dict(state)
            measure(variant, model, compiled, batch, arguments.seconds)


def tell(**found: Any) -> None:
    """Write one line of what was found."""
    print(json.dumps(found), flush=True)


def measure(
    variant: str, model: torch.nn.Module, compiled: bool, batch: int, seconds: float
) -> None:
    """Time the model at one batch, compiled for exactly this shape, and tell the times."""
    torch._dynamo.reset()
    run: Callable[[torch.Tensor], torch.Tensor] = model.eval().half().cuda()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its stubs
    if compiled:  # this mode captures CUDA graphs
        run = torch.compile(model, mode="max-autotune", dynamic=False)
    count = min(8, max(2, INPUT_BYTES // (batch * 4 * torch.Size(SHAPE).numel())))
    hosts = itertools.cycle([torch.randn(batch, *SHAPE) for _ in range(count)])

    def to_device() -> torch.Tensor:
        images = next(hosts).to("cuda")
        return images.to(torch.float16, memory_format=torch.channels_last)

    with torch.inference_mode():
        on_device = to_device()  # in this mode as the others, or it would be compiled once more

        def device_only() -> None:
            run(on_device)
            torch.cuda.synchronize()

        start = time.perf_counter()
        device_only()
        first = time.perf_counter() - start
        calls: dict[str, Callable[[], object]] = {
            "device_resident": device_only,
            "host_to_host": lambda: run(to_device()).float().cpu(),
        }
        for where, call in calls.items():
            tell(
                variant=variant,
                batch=batch,
                where=where,
                first_call_seconds=first,
                times_ms=times_ms(call, seconds),
            )


def times_ms(call: Callable[[], object], seconds: float) -> list[float]:
    """Time `call`, which returns when its work is done: 10 to 1000 times, as `seconds` allow."""
    for _ in range(WARMUP):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 10 or (len(times) < 1000 and time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return times


if __name__ == "__main__":
    main()
