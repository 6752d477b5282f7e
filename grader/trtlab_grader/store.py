"""What has been graded, by content: records/{key}/ holds a LabRecord and the files it speaks of.

A key is the hash of everything that a grade follows from. So a grade is made once, a run that was
killed goes on where it stopped, and a task that ran twice has left one record.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from trtlab.files import write_text
from trtlab_grader.owned import owned_folder, sweep
from trtlab_grader.records import SCHEMA_VERSION, LabRecord

RECORD, DELIVERABLES, CHARTS, NOTEBOOK = "record.json", "deliverables", "charts", "executed.ipynb"
_LATEST, _ENTERED = "latest", "entered"
_STAGED = ".new-"


def content_key(**parts: object) -> str:
    """Return the hash of named JSON-able parts as 40 hexadecimal digits."""
    text = json.dumps({"schema": SCHEMA_VERSION, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


class Store:
    """The records of a course.

    Args:
        root: the folder; made when the first record is put.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, key: str) -> Path:
        """Return where the files of a record are."""
        return self._root / key

    def get(self, key: str) -> LabRecord | None:
        """Return a record, or None if there is none, or one of another schema version."""
        try:
            return LabRecord.model_validate_json((self.folder(key) / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None

    def put(self, record: LabRecord, files: Path) -> None:
        """Keep a record and the files in the folder `files`, all or nothing.

        The folder is moved, not copied. An earlier record of the same key gives way.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        write_text(files / RECORD, record.model_dump_json(round_trip=True, indent=1))
        target = self.folder(record.key)
        with owned_folder(self._root, _STAGED) as staged:
            # Moved beside the target first: a rename is atomic within one file system only.
            shutil.move(files, staged / "record")
            try:
                if target.exists():
                    os.replace(target, staged / "retired")
                os.replace(staged / "record", target)
            except OSError:
                # Another process has just put the same record; theirs is as good.
                if self.get(record.key) is None:
                    raise
        self.make_latest(record)

    def make_latest(self, record: LabRecord) -> None:
        """Let a record that is kept be the newest of its student and lab."""
        pointer = self._pointer(record.student, record.assignment)
        if not pointer.is_file() or pointer.read_text(encoding="ascii").strip() != record.key:
            write_text(pointer, record.key + "\n")

    def entered(self, student: str, assignment: str) -> Path:
        """Return the file that says which record of a student's lab is in the gradebook."""
        return self._root / _ENTERED / student / assignment

    def sweep(self) -> None:
        """Remove what processes that were killed have left; the course's lock is held."""
        sweep(self._root, _STAGED)
        for kind in (_LATEST, _ENTERED):
            for unfinished in (self._root / kind).glob("*/.*.part"):
                unfinished.unlink(missing_ok=True)

    def latest(self, student: str, assignment: str) -> LabRecord | None:
        """Return the newest record of a student's lab, whatever was submitted since."""
        try:
            key = self._pointer(student, assignment).read_text(encoding="ascii").strip()
        except OSError:
            return None
        return self.get(key)

    def all_latest(self) -> list[LabRecord]:
        """Return the newest record of every student and lab, in order of both."""
        pointers = sorted((self._root / _LATEST).glob("*/*"))
        found = [self.latest(p.parent.name, p.name) for p in pointers if not p.name.startswith(".")]
        return [record for record in found if record is not None]

    def _pointer(self, student: str, assignment: str) -> Path:
        return self._root / _LATEST / student / assignment
