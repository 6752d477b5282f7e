"""Folders that change hands: a job's own while it runs, the grader's again afterwards.

Only to be used while no process of the job runs: nothing changes under the walk.
"""

import os
import stat
import subprocess
from pathlib import Path

from trtlab_grader.sandbox.usage import MAX_DEPTH, MAX_PATH_CHARACTERS


def hand_over(folder: Path, uid: int) -> None:
    """Give a folder and all that is in it to a user; links are not followed."""
    os.lchown(folder, uid, uid)
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            os.lchown(os.path.join(parent, name), uid, uid)


def take_back(folder: Path) -> None:
    """Make a folder the grader's, all of it readable, and harmless to walk and to open.

    Set-user-id bits, pipes, sockets and folders nested too deep are removed. Symbolic links stay:
    whoever opens a file there must refuse them.
    """
    waiting = [(os.fspath(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        _take(path)
        if depth > MAX_DEPTH or len(path) > MAX_PATH_CHARACTERS:
            _remove(path)
            continue
        with os.scandir(path) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    _take(entry.path)
                elif entry.is_symlink():
                    os.lchown(entry.path, os.geteuid(), os.getegid())
                else:
                    os.unlink(entry.path)


def _take(path: str) -> None:
    os.lchown(path, os.geteuid(), os.getegid())
    mode = os.lstat(path).st_mode
    os.chmod(path, (0o700 if stat.S_ISDIR(mode) else 0o600) | (mode & 0o777))


def _remove(path: str) -> None:
    # These change into folders as they go down, so that no depth stops them.
    subprocess.run(["chmod", "-R", "u+rwx", path], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", "--one-file-system", path], check=False, capture_output=True)
