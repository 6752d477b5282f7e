"""The GPU lease, across real processes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtlab_grader.lease import LeaseError, lease

HOLD = """
import sys, time
from pathlib import Path
from trtlab_grader.lease import lease
with lease("GPU-1", sys.argv[1], folder=Path(sys.argv[2])):
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


def test_a_measurement_that_waits_goes_before_later_shared_work(tmp_path: Path) -> None:
    sharing = holder("shared", tmp_path)
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, "exclusive", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 30
        while True:  # until the waiting process stands in the turnstile
            try:
                with lease("GPU-1", "shared", timeout_s=0, folder=tmp_path):
                    pass
            except LeaseError:
                break
            assert time.monotonic() < deadline
        stop(sharing)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "held\n"
    finally:
        stop(sharing)
        stop(waiting)


def test_whoever_waits_is_told_once(tmp_path: Path) -> None:
    told = []
    with (
        lease("GPU-1", "exclusive", folder=tmp_path),
        pytest.raises(LeaseError),
        lease(
            "GPU-1", "shared", timeout_s=0.3, folder=tmp_path, on_wait=lambda: told.append("wait")
        ),
    ):
        pass
    assert told == ["wait"]


def test_a_gpu_s_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "locks"
    inside.mkdir()
    with lease("../../evil", "shared", folder=inside):
        assert {path.name for path in tmp_path.iterdir()} == {"locks"}
