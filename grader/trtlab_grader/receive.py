"""Copies files out of a folder that hostile code writes to, also while it is still writing.

Regular files only. No link is followed anywhere on the way, because folders are opened one by one
and everything is opened relative to them; sizes and numbers are bounded.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Allowance:
    """What may be taken at most."""

    files: int = 200
    file_bytes: int = 512 << 20
    total_bytes: int = 2 << 30
    depth: int = 3  # folders below the top


@dataclass
class Received:
    """What became of the files: paths relative to the folder, with '/' between the parts."""

    taken: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # path -> why
    links: list[str] = field(default_factory=list)  # those of the refused that are links

    def refuse(self, path: str, why: str) -> None:
        """Note that a file was left where it is."""
        self.refused[path] = why


def receive(
    source: Path,
    target: Path,
    names: frozenset[str] | None = None,
    allowance: Allowance | None = None,
) -> Received:
    """Copy the files below `source` to `target`, which is made.

    Args:
        source: a folder that whoever calls this has made, and hostile code has filled.
        target: must not exist yet.
        names: take only these, directly in `source`; None for everything.
        allowance: the limits; what goes beyond them is refused.
    """
    allowance = allowance or Allowance()
    received = Received()
    target.mkdir()
    left = allowance.total_bytes
    for parent, folders, files, descriptor in os.fwalk(source, follow_symlinks=False):
        where = Path(parent).relative_to(source)
        folders[:] = [] if names or len(where.parts) >= allowance.depth else sorted(folders)
        for name in sorted(files):
            path = (where / name).as_posix()
            if names is not None and name not in names:
                continue
            if len(received.taken) + len(received.refused) >= allowance.files:
                received.refuse(path, f"more than {allowance.files} files")
                return received
            most = min(allowance.file_bytes, left)
            left -= _copy(name, descriptor, target / where / name, path, most, received)
    return received


def _copy(name: str, folder: int, target: Path, path: str, most: int, received: Received) -> int:
    """Copy one file; return its size, or 0 if it was refused."""
    try:
        # O_NONBLOCK: opening a named pipe would wait for its other end.
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
    except OSError as error:
        if _is_link(name, folder):
            received.links.append(path)
            received.refuse(path, "it is a symbolic link")
        else:
            received.refuse(path, str(error.strerror).lower())
        return 0
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            received.refuse(path, "it is not a regular file")
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with target.open("xb") as copy:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > most:  # read, not asked for: it may grow while it is copied
                    break
                copy.write(chunk)
    if size > most:
        target.unlink()
        received.refuse(path, f"it has more than {most:,} bytes")
        return 0
    received.taken.append(path)
    return size


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
