"""Folders that say whether their maker lives: the dead's are removed, the living's are not."""

import os
import subprocess
import sys
from pathlib import Path

from trtlab_grader.owned import SCRATCH, owned_folder, sweep
from trtlab_grader.store import Store

_MAKE_ONE_AND_DIE = """\
import os, signal, sys
from pathlib import Path
from trtlab_grader.owned import owned_folder

with owned_folder(Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "half.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_the_dead(parent: Path, prefix: str = SCRATCH) -> Path:
    command = [sys.executable, "-c", _MAKE_ONE_AND_DIE, str(parent), prefix]
    path = os.pathsep.join(sys.path)
    died = subprocess.run(command, env=os.environ | {"PYTHONPATH": path})
    assert died.returncode == -9
    (folder,) = parent.glob(f"{prefix}*")
    assert (folder / "half.txt").exists()
    return folder


def test_the_dead_s_folder_is_removed_and_the_living_s_stays(tmp_path: Path) -> None:
    dead = left_by_the_dead(tmp_path)
    locked = dead / "locked"
    locked.mkdir()
    locked.chmod(0)  # as a student's code may leave it
    with owned_folder(tmp_path) as living:
        (living / "work").write_text("work")
        sweep(tmp_path)
        assert not dead.exists()
        assert (living / "work").read_text() == "work"
    assert not list(tmp_path.iterdir())


def test_what_only_has_such_a_name_is_not_followed(tmp_path: Path) -> None:
    precious, scratch = tmp_path / "precious", tmp_path / "tmp"
    precious.mkdir()
    scratch.mkdir()
    (precious / "gradebook.db").write_text("grades")
    (scratch / f"{SCRATCH}link").symlink_to(precious)
    (scratch / f"{SCRATCH}file").write_text("a file")
    (scratch / "another-run").mkdir()
    left_behind = sorted(scratch.iterdir())
    sweep(scratch)
    assert sorted(scratch.iterdir()) == left_behind
    assert (precious / "gradebook.db").read_text() == "grades"


def test_a_store_is_swept_of_halves_and_keeps_the_rest(tmp_path: Path) -> None:
    dead = left_by_the_dead(tmp_path, ".new-")
    kept = ["a-key/record.json", "latest/ada/01-export", "entered/ada/01-export"]
    halves = ["latest/ada/.01-export.x7q2.part", "entered/ada/.01-export.k2j4.part"]
    for name in (*kept, *halves):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    Store(tmp_path).sweep()
    assert not dead.exists()
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)
