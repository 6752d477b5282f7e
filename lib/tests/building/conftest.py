"""What the tests of building share: a small model, and a look at the builder's config."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiny import SHAPE, export_tiny
from trtlab import build
from trtlab.inspect import inspect_engine


@pytest.fixture
def onnx_path(tmp_path: Path) -> Path:
    return export_tiny(tmp_path)


@pytest.fixture
def engine_path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.engine"


@pytest.fixture
def built_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The builder's network and config of the last build, as they were when it started."""
    seen = SimpleNamespace()
    run = build._run

    def spy(builder: Any, network: Any, config: Any) -> Any:
        seen.network, seen.config = network, config
        return run(builder, network, config)

    monkeypatch.setattr(build, "_run", spy)
    return seen


def batches(count: int = 3, size: int = 2) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal((size, *SHAPE), np.float32) for _ in range(count)]


def precisions(engine_path: Path) -> dict[str, str]:
    """ONNX node -> precision of the layer that it became a part of."""
    layers = inspect_engine(engine_path).layers
    return {node: layer.precision for layer in layers for node in layer.onnx_nodes}


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.onnx"}
