"""Opens and runs files that students made: ONNX graphs with ONNX Runtime, engines with TensorRT.

Two classes have the methods of `Bench`. `LocalBench` works in this process, for the notebook's own
card. The grader's does the same in a sandbox, because loading an engine can run code.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trtlab.checks.evidence1 import GraphFacts
from trtlab.errors import EngineError, InferenceError
from trtlab.infer import TensorRTInference
from trtlab.inspect import EngineReport, inspect_engine
from trtlab.lab.onnx_facts import graph_facts, onnx_runner
from trtlab.results import PairedComparison

Logits = NDArray[np.float32]


class Bench(Protocol):
    """What can be asked about a student's files. All methods raise TrtLabError where one is bad."""

    def graph(self, path: Path) -> GraphFacts:
        """Return what can be read off an ONNX file; a bad one is a fact too, and raises nothing."""

    def inspect(self, engine: Path) -> EngineReport:
        """Return what the engine inspector says."""

    def run_engine(self, engine: Path, images: NDArray[np.float32], batch: int) -> Logits:
        """Run an engine on images (N, C, H, W), `batch` at a time; return its output (N, ...)."""

    def run_onnx(self, path: Path, images: NDArray[np.float32]) -> Logits:
        """Run a graph of one input on images (N, C, H, W) at once; return its first output."""

    def speedup(self, engine: Path, batch: int) -> PairedComparison | None:
        """Compare an engine with PyTorch in strict FP32; None on the emulation."""


class LocalBench:
    """A Bench in this process."""

    def graph(self, path: Path) -> GraphFacts:
        """See Bench."""
        return graph_facts(path)

    def inspect(self, engine: Path) -> EngineReport:
        """See Bench."""
        report = inspect_engine(engine)
        modes = {tensor.mode for tensor in report.tensors}
        if modes != {"input", "output"}:
            there = " and no ".join(sorted({"input", "output"} - modes))
            raise EngineError(f"{engine.name} has no {there}, so that nothing can be asked of it.")
        return report

    def run_engine(self, engine: Path, images: NDArray[np.float32], batch: int) -> Logits:
        """See Bench."""
        with TensorRTInference(engine) as model:
            parts = [model.infer(images[i : i + batch]) for i in range(0, len(images), batch)]
        shapes = sorted({part.shape[1:] for part in parts})
        if not all(part.ndim for part in parts) or len(shapes) != 1:
            raise InferenceError(
                f"{engine.name} gives no row for each image: its outputs for {len(images)} images "
                f"in batches of {batch} have the shapes {', '.join(str(p.shape) for p in parts)}."
            )
        return np.concatenate(parts)

    def run_onnx(self, path: Path, images: NDArray[np.float32]) -> Logits:
        """See Bench."""
        return onnx_runner(path)(images)

    def speedup(self, engine: Path, batch: int) -> PairedComparison | None:
        """See Bench."""
        from trtlab.lab.speed import speedup_over_pytorch  # with PyTorch's models, which takes time

        return speedup_over_pytorch(engine, batch)
