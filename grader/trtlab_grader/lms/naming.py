"""Whose file it is and of which lab, by the ways in which LMSs name what they hand over.

Canvas     submissions.zip: lovelaceada_12345_67890_02-build.ipynb, with LATE_ before the numbers
Moodle     Ada Lovelace_12345_assignsubmission_file_/02-build.ipynb
folders    ada/02-build/02-build.ipynb, or ada/02-build.ipynb

Canvas's first number is the user's, everywhere. Moodle's is another one for the same student in
each assignment, so that it tells two students of one name apart and says nothing of who they are.
"""

import re
from dataclasses import dataclass, replace

from trtlab.lab.artifacts import MADE_IN
from trtlab_grader.course import LABS

DELIVERABLES = {name: lab for name, lab in MADE_IN.items() if lab} | {"report.html": "06-report"}
"""What is handed in beside the notebooks -> its lab."""

_CANVAS = re.compile(r"(?P<name>[^_/]+)_(?P<late>LATE_)?(?P<id>\d+)_(?P<attempt>\d+)_(?P<file>.+)")
_MOODLE = re.compile(r"(?P<name>.+)_\d+_assignsubmission_file_?")
# Canvas numbers what is handed in again, browsers what is downloaded again.
_AGAIN = re.compile(r"(?P<stem>.+?)(?:-(?P<canvas>\d+)| ?\((?P<browser>\d+)\))?(?P<suffix>\.\w+)")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar")


@dataclass(frozen=True)
class Place:
    """Where a file belongs.

    Attributes:
        name: what the LMS calls the student; the folder's name where there is no LMS.
        lms_id: Canvas's number for them; None elsewhere.
        assignment: one of LABS.
        file: its name there.
        attempt: the higher, the later; by the LMS's own numbers.
        home: the path of the student's folder where there is no LMS, else empty.
        moodle: Moodle's folder of the student for one assignment, else empty.
        late: whether Canvas says so.
    """

    name: str
    lms_id: str | None
    assignment: str
    file: str
    attempt: tuple[int, int] = (0, 0)
    home: str = ""
    moodle: str = ""
    late: bool = False


def place_of(parts: tuple[str, ...]) -> Place | str | None:
    """Return where a file belongs, or why nowhere; None for what nobody handed in on purpose."""
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    canvas = _CANVAS.fullmatch(parts[-1])
    moodle = next(filter(None, map(_MOODLE.fullmatch, parts[:-1])), None)
    if moodle:
        placed = _placed(moodle["name"], None, parts[-1], 0)
        return replace(placed, moodle=moodle[0]) if isinstance(placed, Place) else placed
    if canvas:
        number, attempt = canvas["id"], int(canvas["attempt"])
        placed = _placed(canvas["name"], number, canvas["file"], attempt)
        late = canvas["late"] is not None
        return replace(placed, late=late) if isinstance(placed, Place) else placed
    return _in_folders(parts)


def _in_folders(parts: tuple[str, ...]) -> Place | str:
    if any(part in LABS for part in parts[:-2]):
        return "it lies deeper than what is handed in"
    home = parts[:-2] if parts[-2:-1] and parts[-2] in LABS else parts[:-1]
    if not home:
        return "nothing says whose it is"
    placed = _placed(home[-1], None, parts[-1], 0)
    if isinstance(placed, str):
        return placed
    if home == parts[:-2] and placed.assignment != parts[-2]:
        return f"it belongs to {placed.assignment}, and lies in {parts[-2]}"
    return replace(placed, home="/".join(home))


def _placed(name: str, lms_id: str | None, file: str, attempt: int) -> Place | str:
    if file.lower().endswith(_ARCHIVES):
        return "it is an archive within the download; unpack it first"
    again = _AGAIN.fullmatch(file)
    candidates = [(file, 0)]
    if again:
        number = int(again["canvas"] or again["browser"] or 0)
        candidates.append((again["stem"] + again["suffix"], number))
    for candidate, number in candidates:
        stem, _, suffix = candidate.rpartition(".")
        lab = stem if suffix == "ipynb" and stem in LABS else DELIVERABLES.get(candidate)
        if lab:
            return Place(name, lms_id, lab, candidate, (attempt, number))
    if file.endswith(".ipynb"):
        return f"no lab is called that; there are {', '.join(LABS)}"
    return "it is no file that the labs ask for"
