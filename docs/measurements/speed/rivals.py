"""Polygraphy's TrtRunner, which a user would otherwise take to run an engine from Python."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trtlab.accuracy import Predict
from trtlab.backend import device_context
from trtlab.engines import load_engine


def polygraphy_version() -> str | None:
    """Return the version of Polygraphy; None where it is not installed."""
    try:
        import polygraphy
    except ImportError:
        return None
    return str(polygraphy.__version__)


@contextmanager
def polygraphy_runner(engine_path: Path) -> Iterator[Predict]:
    """Yield TrtRunner's call as its documentation has it: a NumPy array in, a NumPy array out."""
    from polygraphy.backend.trt import TrtRunner

    with device_context(), TrtRunner(load_engine(engine_path)) as runner:
        (name,) = runner.get_input_metadata()

        def predict(images: Any) -> Any:
            return next(iter(runner.infer({name: images}).values()))

        yield predict
