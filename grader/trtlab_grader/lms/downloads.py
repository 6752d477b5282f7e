"""The files of a download from an LMS, a folder or a zip, as untrusted data.

Nothing is unpacked here: names, kinds and sizes are looked at, and what could not be an honest
submission is refused with a reason. `Download.copy` then reads one file with its bound.
"""

import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from trtlab.errors import DataError

MAX_FILES = 100_000
MAX_FILE_BYTES = 512 << 20
MAX_RATIO = 200
"""Bytes of a file for each of its packed ones. Text has 5 to 20; only fillers have more."""
SMALL = 16 << 20
"""Bytes below which the ratio does not matter."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Refused:
    """A file that is not taken.

    Attributes:
        name: as the download has it, fit to be printed.
        why: in words.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Download:
    """A file that may be taken.

    Attributes:
        parts: of its path within the download, in Unicode's composed form.
        size: in bytes, as the download says.
        modified: when it was last changed, in UTC, as the download says.
    """

    parts: tuple[str, ...]
    size: int
    modified: datetime
    open: Callable[[], IO[bytes]]

    @property
    def name(self) -> str:
        """The path, fit to be printed."""
        return printable("/".join(self.parts))

    def copy(self, target: Path) -> str | None:
        """Write the file to a new path; return why that failed, or None."""
        size = 0
        try:
            with self.open() as source, target.open("xb") as copy:
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    if size > self.size:
                        return "it has more bytes than the download says"
                    copy.write(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as err:
            return f"it cannot be unpacked: {err}"
        return None if size == self.size else "it has fewer bytes than the download says"


@contextmanager
def open_downloads(source: Path) -> Iterator[tuple[list[Download], list[Refused]]]:
    """Yield the files of a folder or a zip, those that may be taken and those that may not.

    Raises:
        DataError: if it is neither, or has too many files.
    """
    if source.is_dir():
        yield _sorted_out(_in_folder(source, ()))
        return
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise DataError(
            f"{source} is neither a folder nor a zip that can be read: {why}. Name the zip that "
            "your LMS gave you, or the folder that you unpacked it into."
        ) from error
    with archive:
        yield _sorted_out(_in_zip(archive))


def printable(text: str, most: int = 200) -> str:
    """Return a text without what a terminal could take for a command."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def _sorted_out(found: Iterator[Download | Refused]) -> tuple[list[Download], list[Refused]]:
    downloads: list[Download] = []
    refused: list[Refused] = []
    for file in found:
        if len(downloads) + len(refused) >= MAX_FILES:
            raise DataError(f"The download has more than {MAX_FILES:,} files.")
        if isinstance(file, Refused):
            refused.append(file)
        elif file.size > MAX_FILE_BYTES:
            why = f"it has {file.size:,} bytes, and may have {MAX_FILE_BYTES:,}"
            refused.append(Refused(file.name, why))
        else:
            downloads.append(file)
    return downloads, refused


def _in_zip(archive: zipfile.ZipFile) -> Iterator[Download | Refused]:
    for info in archive.infolist():
        if info.is_dir():
            continue
        parts = _parts(info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if parts is None:
            why = "its path leaves the download"
        elif kind not in (0, stat.S_IFREG):
            why = "it is a link or a device, not a file"
        elif info.flag_bits & 0x1:
            why = "it is encrypted"
        elif info.file_size > SMALL and info.file_size > MAX_RATIO * info.compress_size:
            why = f"it unpacks to {info.file_size:,} bytes from {info.compress_size:,}"
        else:
            yield Download(parts, info.file_size, _zip_time(info), _opener(archive, info))
            continue
        yield Refused(printable(info.filename), why)


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(info)


def _zip_time(info: zipfile.ZipInfo) -> datetime:
    try:
        return datetime(*info.date_time).astimezone(timezone.utc)  # a zip has no time zone
    except ValueError:
        return datetime(1980, 1, 1, tzinfo=timezone.utc)


def _in_folder(folder: Path, above: tuple[str, ...]) -> Iterator[Download | Refused]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path, status = Path(entry.path), entry.stat(follow_symlinks=False)
        parts = _parts("/".join((*above, entry.name)))
        name = printable("/".join((*above, entry.name)))
        if parts is None:
            yield Refused(name, "its name is no name of a file")
        elif stat.S_ISDIR(status.st_mode):
            yield from _in_folder(path, parts)
        elif not stat.S_ISREG(status.st_mode):
            yield Refused(name, "it is a link or a device, not a file")
        elif status.st_nlink > 1:
            yield Refused(name, "it is a hard link: the file lies somewhere else too")
        else:
            modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
            yield Download(parts, status.st_size, modified, _file_opener(path))


def _file_opener(path: Path) -> Callable[[], IO[bytes]]:
    def open_file() -> IO[bytes]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return open(os.open(path, flags), "rb")

    return open_file


def _parts(name: str) -> tuple[str, ...] | None:
    """Return the parts of a path; None if it is absolute, or names anything above or odd."""
    parts = tuple(unicodedata.normalize("NFC", name).split("/"))
    odd = ("\\", ":", "\0")
    if any(p in ("", ".", "..") or any(c in p for c in odd) or not p.isprintable() for p in parts):
        return None
    return parts
