"""The results file for students who come to lab 6 without one of their own: measured here, once.

It is a small measurement of the provided engines on this machine, so that its figures are real,
though with wide intervals; lab 5 makes a better one.
"""

from pathlib import Path

from trtlab.backend import IS_EMULATED
from trtlab.pipeline import measure
from trtlab.results import BenchmarkSettings, write_results
from trtlab.workloads import load_workload

ENGINES = ("resnet50_fp16.engine", "resnet50_int8.engine")
IMAGES = 256 if IS_EMULATED else 2000
SETTINGS = (
    BenchmarkSettings(
        batch_sizes=(1, 2, 4), iterations=10, warmup=1, throughput_s=0.2, max_seconds=0.3
    )
    if IS_EMULATED
    else BenchmarkSettings(batch_sizes=(1, 8, 32), iterations=100, warmup=20, throughput_s=1.0)
)


def measure_provided(engines: list[Path], onnx: Path, path: Path) -> None:
    """Benchmark engine files against the course's model and write the results to `path`.

    Raises:
        EngineError: if an engine cannot be used here.
        OutputError: if the file cannot be written.
    """
    workload = load_workload()
    model = workload.load_model()
    write_results(path, measure(workload, model, engines, SETTINGS, images=IMAGES, onnx=onnx))
