"""Writing files so that a crash, a full disk or Ctrl-C leaves the old file or the new one.

Everything that trtlab writes goes through `atomic_path`: the content is written beside the target
under a temporary name and renamed over it once it is complete.
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtlab.errors import OutputError

_REASONS = {
    errno.ENOSPC: "there is no space left on the disk; free some or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission was denied; choose a folder that you may write to",
    errno.EPERM: "permission was denied; choose a folder that you may write to",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder; name a file",
}


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it over `target` if the block succeeds.

    Missing parent folders are created. On any exception, KeyboardInterrupt included, the temporary
    file is removed and `target` is left as it was.

    Raises:
        OutputError: if the folder or the file cannot be written.
    """
    path = Path(target)
    temporary = _empty_file_beside(path)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise OutputError(f"Cannot write {path}: {reason}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _empty_file_beside(path: Path) -> Path:
    """Create a temporary file in the folder of `path`, and the folder. Raises: OutputError."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays at the end: some writers choose their format by it.
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}.", suffix=f".part{path.suffix}"
        )
    except OSError as error:
        # Nothing but the path can be at fault here.
        reason = _REASONS.get(error.errno or 0, f"{error.strerror}; choose another path")
        raise OutputError(f"Cannot write {path}: {reason}.") from error
    os.close(descriptor)
    return Path(name)


def write_bytes(target: str | os.PathLike[str], data: bytes | memoryview) -> Path:
    """Write `data` to `target` in one step. Raises: OutputError."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
    return Path(target)


def write_text(target: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 to `target` in one step. Raises: OutputError."""
    return write_bytes(target, text.encode())


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
