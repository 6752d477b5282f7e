"""A LocalBench behind JSON lines: `python -m trtlab.lab.bench_server`, for the grader's sandbox.

One request a line on stdin, one answer a line on stdout; arrays are .npy files whose paths are in
the requests. Whoever sends the requests has the stopwatch: for a speed-up, it asks for some calls
of PyTorch and some of the engine in turn, and times the answers.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from trtlab.backend import IS_EMULATED
from trtlab.errors import CourseFault, TrtLabError
from trtlab.lab.bench import LocalBench
from trtlab.lab.exchange import read_array, write_array


class BenchServer:
    """Answers requests, one method for each operation."""

    def __init__(self) -> None:
        self._bench = LocalBench()
        self._race = ExitStack()
        self._contestants: dict[str, Callable[[], object]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return {"value": ...}, or {"error": class name, "message": ...} for a bad file."""
        operation = getattr(self, "do_" + request.pop("do"))
        try:
            return {"value": operation(**request)}
        except (TrtLabError, CourseFault) as error:
            return {"error": type(error).__name__, "message": str(error)}

    def do_graph(self, path: str) -> Any:
        """Return GraphFacts as JSON."""
        return self._bench.graph(Path(path)).model_dump(mode="json", round_trip=True)

    def do_inspect(self, engine: str) -> Any:
        """Return an EngineReport as JSON."""
        return self._bench.inspect(Path(engine)).model_dump(mode="json", round_trip=True)

    def do_run_engine(self, engine: str, images: str, batch: int, output: str) -> None:
        """Run an engine on the array at `images`, and write what it returns to `output`."""
        logits = self._bench.run_engine(Path(engine), read_array(Path(images)), batch)
        write_array(Path(output), logits)

    def do_run_onnx(self, path: str, images: str, output: str) -> None:
        """Run a graph on the array at `images`, and write what it returns to `output`."""
        write_array(Path(output), self._bench.run_onnx(Path(path), read_array(Path(images))))

    def do_line_up(self, engine: str, batch: int) -> bool:
        """Make PyTorch and an engine ready; return False on the emulation, which has no times."""
        self._race.close()
        if IS_EMULATED:
            return False
        from trtlab.lab.speed import contestants  # with PyTorch's models, which takes a second

        ready = self._race.enter_context(
            contestants(engine, batch, seed=secrets.randbits(31)),
        )
        self._contestants = dict(zip(("pytorch", "engine"), ready, strict=True))
        return True

    def do_run(self, who: str, calls: int) -> float:
        """Make some calls of one of the two; return the seconds they took by the clock here."""
        call = self._contestants[who]
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - start

    def do_dismiss(self) -> None:
        """Free what `line_up` made."""
        self._contestants.clear()
        self._race.close()


def main() -> None:
    """Serve until stdin ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = BenchServer()
    print(json.dumps({"value": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(server.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
