"""Who is in the class: names in the LMS -> nbgrader's ids, from a CSV of the instructor's."""

import csv
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from trtlab.errors import DataError
from trtlab.lab.exchange import ExchangeError, read_bytes

MAX_BYTES = 8 << 20
_STUDENT_ID = re.compile(r"\w[\w.@-]{0,63}")


@dataclass(frozen=True)
class Person:
    """A row of the roster. Whatever but the id may be empty."""

    id: str
    name: str = ""
    lms_id: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""


@dataclass
class Roster:
    """The class, and how to find a student in it."""

    people: list[Person] = field(default_factory=list)

    def find(self, name: str, lms_id: str | None) -> Person | str:
        """Return the student that the LMS calls so, or why there is none.

        A name is the same whatever its spaces, case and order of first and last name. Canvas's
        number tells students of one name apart, and finds one whose name the roster has not; where
        it says another one than the name, neither is believed.

        Args:
            name: in the LMS.
            lms_id: Canvas's number; None from elsewhere.
        """
        named = [person for person in self.people if _key(name) in _keys(person)]
        if lms_id is not None:
            numbered = [person for person in self.people if person.lms_id == lms_id]
            fitting = [person for person in named if person.lms_id in ("", lms_id)]
            if named and (not fitting or (numbered and numbered[0] not in named)):
                return _contradiction(name, lms_id, named, numbered)
            named = numbered or fitting
        if len(named) == 1:
            return named[0]
        return f"{len(named) or 'none'} in the roster called {name!r}"


def student_id_problem(student: str) -> str | None:
    """Return why nbgrader, paths and patterns could not live with an id; None if they can."""
    if _STUDENT_ID.fullmatch(student):
        return None
    return (
        f"{student!r} is no id for a student: letters, digits, and . _ - @ after the first; "
        "map it to one with a roster"
    )


def read_roster(path: Path) -> Roster:
    """Read a CSV with the columns name and id, and any of the others of Person.

    Raises:
        DataError: if it cannot be read or lacks a column, if an id is unusable, or if an id or an
            lms_id is there twice.
    """
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), strict=True))
    except (ExchangeError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The roster {path} is no CSV that can be read: {error}. Its columns are name and id, "
            "and any of lms_id, first_name, last_name, email."
        ) from error
    people = []
    for number, row in enumerate(rows, start=2):
        if not {"name", "id"} <= row.keys():
            has = ", ".join(str(column) for column in row)
            raise DataError(f"The roster {path} needs the columns name and id; it has {has}.")
        values = {column: (row.get(column) or "").strip() for column in Person.__annotations__}
        problem = student_id_problem(values["id"])
        if problem:
            raise DataError(f"{path}, line {number}: {problem}.")
        people.append(Person(**values))
    columns = {
        "id": [person.id.casefold() for person in people],
        "lms_id": [person.lms_id for person in people if person.lms_id],
    }
    for column, there in columns.items():
        twice = sorted({value for value in there if there.count(value) > 1})
        if twice:
            raise DataError(f"{path}: the {column} {twice[0]} is there more than once.")
    return Roster(people)


def _contradiction(name: str, lms_id: str, named: list[Person], numbered: list[Person]) -> str:
    called = ", ".join(f"{person.id} (lms_id {person.lms_id or 'empty'})" for person in named)
    number = f"{numbered[0].id}'s" if numbered else "nobody's"
    return (
        f"the name {name!r} is in the roster that of {called}, and the number {lms_id} {number}: "
        "correct the roster's lms_id"
    )


def _keys(person: Person) -> set[str]:
    first, last = person.first_name, person.last_name
    parts = person.name.replace(",", " ").split()
    turned = [" ".join(parts[n:] + parts[:n]) for n in range(1, len(parts))]
    names = [person.id, person.name, *turned, first + last, last + first, person.email]
    return {_key(name) for name in names} - {""}


def _key(name: str) -> str:
    folded = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in folded if c.isalnum())
