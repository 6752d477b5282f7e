"""The GPU lease, across real processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from trtlab_grader.lease import LeaseError, lease

HOLD = """
import sys, time
from pathlib import Path
from trtlab_grader.lease import lease
patience_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0
with lease("GPU-1", sys.argv[1], folder=Path(sys.argv[2]), patience_s=patience_s):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(kind: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ("shared", "shared", True),
        ("shared", "exclusive", False),
        ("exclusive", "shared", False),
        ("exclusive", "exclusive", False),
    ],
)
def test_only_shared_leases_go_together(held: str, wanted: str, free: bool, tmp_path: Path) -> None:
    process = holder(held, tmp_path)
    try:
        if free:
            with lease("GPU-1", wanted, timeout_s=0, folder=tmp_path):
                pass
        else:
            with (
                pytest.raises(LeaseError, match="another process holds it"),
                lease("GPU-1", wanted, timeout_s=0.2, folder=tmp_path),
            ):
                pass
    finally:
        stop(process)


def test_the_lease_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = holder("exclusive", tmp_path)
    stop(process)
    with lease("GPU-1", "exclusive", timeout_s=5, folder=tmp_path):
        pass


def test_gpus_are_leased_one_by_one(tmp_path: Path) -> None:
    with (
        lease("GPU-1", "exclusive", folder=tmp_path),
        lease("GPU-2", "exclusive", timeout_s=0, folder=tmp_path),
    ):
        pass


@contextmanager
def somebody_waiting(
    folder: Path, patience_s: float
) -> Iterator[tuple["subprocess.Popen[str]", "subprocess.Popen[str]"]]:
    """Yield a process that shares the GPU, and one that waits to have it alone."""
    sharing = holder("shared", folder)
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, "exclusive", str(folder), str(patience_s)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield sharing, waiting
    finally:
        stop(sharing)
        stop(waiting)


def is_free_to_share(folder: Path) -> bool:
    try:
        with lease("GPU-1", "shared", timeout_s=0, folder=folder):
            return True
    except LeaseError:
        return False


def wait_until_shut(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while is_free_to_share(folder):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_measurement_that_waited_long_goes_before_later_shared_work(tmp_path: Path) -> None:
    with somebody_waiting(tmp_path, patience_s=0.5) as (sharing, waiting):
        wait_until_shut(tmp_path)
        stop(sharing)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "held\n"


def test_until_then_others_may_begin(tmp_path: Path) -> None:
    with somebody_waiting(tmp_path, patience_s=600) as (sharing, waiting):
        time.sleep(2)  # more than it takes to start waiting
        assert is_free_to_share(tmp_path)
        stop(sharing)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "held\n"
        assert not is_free_to_share(tmp_path)


def test_whoever_dies_while_waiting_leaves_the_gate_open(tmp_path: Path) -> None:
    with somebody_waiting(tmp_path, patience_s=0) as (_, waiting):
        wait_until_shut(tmp_path)
        stop(waiting)
        assert is_free_to_share(tmp_path)


def test_measurements_that_wait_go_one_after_the_other_before_shared_work(tmp_path: Path) -> None:
    order: list[str] = []

    def work(kind: Literal["shared", "exclusive"]) -> None:
        with lease("GPU-1", kind, folder=tmp_path):
            order.append(kind)
            time.sleep(0.1)

    kinds: list[Literal["shared", "exclusive"]] = ["shared", "exclusive"] * 4
    threads = [threading.Thread(target=work, args=(kind,)) for kind in kinds]
    with lease("GPU-1", "exclusive", folder=tmp_path):
        for thread in threads:
            thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert order == ["exclusive"] * 4 + ["shared"] * 4


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    """A class at work: all of it gets on, whoever is unlucky too."""
    waits: list[float] = []

    def work(number: int) -> None:
        random = Random(number)
        for _ in range(5):
            for kind, seconds in (("shared", random.uniform(0.05, 0.2)), ("exclusive", 0.02)):
                start = time.monotonic()
                with lease("GPU-1", kind, folder=tmp_path, patience_s=0.3):
                    waits.append(time.monotonic() - start)
                    time.sleep(seconds)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # All the others measure once, a cell ends, patience runs out; and a slow machine's share.
    assert len(waits) == 120
    assert max(waits) < 12 * 0.2 + 0.2 + 0.3 + 3


def test_whoever_waits_is_told_once(tmp_path: Path) -> None:
    told: list[bool] = []
    with (
        lease("GPU-1", "exclusive", folder=tmp_path),
        pytest.raises(LeaseError),
        lease("GPU-1", "shared", timeout_s=0.3, folder=tmp_path, on_wait=told.append),
    ):
        pass
    assert told == [True]
    with lease("GPU-1", "shared", folder=tmp_path, on_wait=told.append):
        assert told == [True]


def test_and_told_when_the_gpu_is_free(tmp_path: Path) -> None:
    told: list[bool] = []
    process = holder("exclusive", tmp_path)
    threading.Timer(0.3, stop, [process]).start()
    with lease("GPU-1", "shared", timeout_s=30, folder=tmp_path, on_wait=told.append):
        assert told == [True, False]


def test_a_gpu_s_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "locks"
    inside.mkdir()
    with lease("../../evil", "shared", folder=inside):
        assert {path.name for path in tmp_path.iterdir()} == {"locks"}
