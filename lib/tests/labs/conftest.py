"""What the notebook tests share: one cache of provided artifacts, one reference run per lab."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from pydantic import TypeAdapter

from labs.harness import provide_artifacts, run_notebook
from mutants import shrink_of, unchecked_of
from trtlab.checks.verdict import Verdict

Verdicts = dict[str, Verdict]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same for all of pytest-xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def provided_artifacts(shared_folder: Path) -> Iterator[None]:
    """TRTLAB_CACHE names a folder with the artifacts that `artifact()` provides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTLAB_CACHE", str(shared_folder / "cache"))
        provide_artifacts(shared_folder / "cache")
        yield


@pytest.fixture(scope="session")
def reference(shared_folder: Path, provided_artifacts: None) -> Callable[[int], Verdicts]:
    """The verdicts of a lab's unpatched notebook by its number; each lab runs once."""
    verdicts = TypeAdapter(Verdicts)

    def run(lab: int) -> Verdicts:
        file = shared_folder / f"reference-{lab}.json"
        with FileLock(file.with_suffix(".lock")):
            if not file.is_file():
                result = run_notebook(lab, shrink=shrink_of(lab), skip=unchecked_of(lab))
                assert not result.errors, f"lab {lab}'s own cells raise: {result.errors}"
                file.write_bytes(verdicts.dump_json(result.verdicts, round_trip=True))
        return verdicts.validate_json(file.read_bytes())

    return run
