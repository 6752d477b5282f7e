"""Near-identical code between submissions, by winnowed fingerprints of normalised tokens.

Source: Schleimer, Wilkerson, Aiken, "Winnowing: Local Algorithms for Document Fingerprinting",
SIGMOD 2003. A high score says that two people should be asked, not that anybody cheated.

Why not the library copydetect, which does the same for files: it replaces every name, and then
any two programs that call TensorRT's builder in the documented order look alike; and it leaves out
given code, but not what most of a class has in common. Why not `tokenize`: it stops at the first
thing that is not Python, which makes one stray quote a hiding place.
"""

import builtins
import json
import keyword
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

GRAM = 14
"""Tokens in a fingerprint (k): shorter matches are chance."""
WINDOW = 4
"""Of so many grams in a row one is kept, so a match of GRAM + WINDOW - 1 tokens is always found."""
FEWEST = 12
"""A submission with fewer fingerprints of its own is too short to say anything about."""
NEAR_IDENTICAL = 0.6
"""Share of the smaller submission's fingerprints from which on a pair is reported."""

_MAX_CELL, _MAX_CODE = 40_000, 200_000  # characters; a whole lab's solution has some 10,000
_MAX_REGIONS, _MAX_REGION_LINES = 4, 30

_TOKEN = re.compile(
    r"""
    (?P<layout>\#[^\n]* | ,(?=\s*[)\]}]) | ; | \\\n)  # comments, trailing commas, joined lines
  | (?P<string>[rbfuRBFU]{0,2}(?:
        '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z) | "{3}(?:[^\\]|\\.)*?(?:"{3}|\Z)
      | '(?:[^'\\\n]|\\.)*'? | "(?:[^"\\\n]|\\.)*"?))
  | (?P<number>\d[\w.]*)
  | (?P<name>[^\W\d]\w*)
  | (?P<other>[^\w\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"^(?=(?:async\s+)?def\s|class\s|@)", re.MULTILINE)
_MADE_UP = re.compile(r"\b(?:def|class)\s+(\w+)|\.\s*(\w+)\s*(?:=(?!=)|[-+*/|&]=|:\s*\w+\s*=)")
_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True)
class Submission:
    """The code of one lab of one student."""

    student: str
    assignment: str
    code: str


@dataclass(frozen=True)
class Region:
    """Code that two submissions share, as each of them wrote it."""

    first: str
    second: str


@dataclass(frozen=True)
class Pair:
    """Two submissions of one lab that are nearly the same.

    Attributes:
        assignment: which lab.
        first, second: the students.
        score: shared fingerprints over those of the smaller submission, 0 to 1.
        shared: their number.
        regions: the longest shared passages, longest first.
    """

    assignment: str
    first: str
    second: str
    score: float
    shared: int
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class _Token:
    code: int
    start: int
    end: int


@dataclass(frozen=True)
class _Prints:
    """A submission's tokens, and its fingerprints as hash -> positions of their first tokens."""

    submission: Submission
    tokens: list[_Token]
    positions: dict[int, list[int]]


def code_of(notebook: bytes) -> str:
    """Return the code cells of a notebook file, a blank line between them, bounded in size.

    What is not a notebook, or not text, has no code: "".
    """
    try:
        cells = json.loads(notebook)["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        texts = [source if isinstance(source, str) else "".join(source) for source in sources]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return "\n\n".join(text[:_MAX_CELL] for text in texts)[:_MAX_CODE]


def similar_pairs(
    submissions: Iterable[Submission],
    released: Mapping[str, str],
    at_least: float = NEAR_IDENTICAL,
) -> list[Pair]:
    """Return the pairs of students whose code is nearly the same, the most similar first.

    Compared within a lab. What stands in the release does not count, nor does what more than half
    of the class (and more than four submissions) has: the way everybody writes it.

    Args:
        submissions: at most one for each student and lab.
        released: assignment -> code of the notebook that students were given.
        at_least: the score to report from.
    """
    labs: dict[str, list[Submission]] = defaultdict(list)
    for submission in submissions:
        labs[submission.assignment].append(submission)
    found: list[Pair] = []
    for assignment, group in sorted(labs.items()):
        found += _pairs_of_lab([_prints(s) for s in group], released.get(assignment, ""), at_least)
    return sorted(found, key=lambda pair: (-pair.score, -pair.shared, pair.first, pair.second))


def _pairs_of_lab(group: list[_Prints], released: str, at_least: float) -> Iterator[Pair]:
    frequency = Counter(fingerprint for prints in group for fingerprint in prints.positions)
    most = max(4, len(group) // 2)
    common = {fingerprint for fingerprint, count in frequency.items() if count > most}
    common |= _all_grams(released)
    own = [prints.positions.keys() - common for prints in group]
    long_enough = [index for index, prints in enumerate(own) if len(prints) >= FEWEST]
    for i, j in combinations(long_enough, 2):
        shared = own[i] & own[j]
        score = len(shared) / min(len(own[i]), len(own[j]))
        if score < at_least:
            continue
        first, second = sorted((group[i], group[j]), key=lambda prints: prints.submission.student)
        yield Pair(
            assignment=first.submission.assignment,
            first=first.submission.student,
            second=second.submission.student,
            score=score,
            shared=len(shared),
            regions=_regions(first, second, shared),
        )


def _tokens(code: str) -> list[list[_Token]]:
    """Return the normalised tokens of each top-level definition, and of what is between them.

    Grams do not reach from one into the next, so that their order does not matter.
    """
    code = code[:_MAX_CODE]
    own = {name for match in _MADE_UP.finditer(code) for name in match.groups() if name}
    bounds = [0, *(match.start() for match in _BLOCK.finditer(code)), len(code)]
    return [list(_normalised(code, start, end, own)) for start, end in pairwise(bounds)]


def _normalised(code: str, start: int, end: int, own: set[str]) -> Iterator[_Token]:
    """Yield tokens in which only the language and the names of libraries are left.

    A name that the student chose becomes N, a string S, a number 0; comments and layout vanish.
    """
    before = ""
    while start < end and (match := _TOKEN.search(code, start, end)):
        text, start = match.group(), match.end()
        if match.lastgroup == "layout":
            continue
        if match.lastgroup == "string":
            word = "S"
        elif match.lastgroup == "number":
            word = "0"
        elif match.lastgroup == "name":
            called = text in _BUILTINS and code.startswith("(", start)
            of_library = before == "." and text not in own
            word = text if keyword.iskeyword(text) or called or of_library else "N"
        else:
            word = text
        before = text
        yield _Token(zlib.crc32(word.encode("utf-8", "surrogatepass")), match.start(), match.end())


def _grams(tokens: list[_Token]) -> list[int]:
    codes = tuple(token.code for token in tokens)
    # The hash of a tuple of integers is the same in every process; that of a string is not.
    return [hash(codes[at : at + GRAM]) for at in range(len(codes) - GRAM + 1)]


def _all_grams(code: str) -> set[int]:
    """Return every gram of given code: which of them a winnowing keeps depends on what is near."""
    return {gram for block in _tokens(code) for gram in _grams(block)}


def _winnow(grams: list[int]) -> Iterator[int]:
    """Yield the positions of the smallest gram of each window, the last one among equals."""
    latest = -1
    for start in range(max(1, len(grams) - WINDOW + 1) if grams else 0):
        window = range(start, min(start + WINDOW, len(grams)))
        smallest = min(window, key=lambda at: (grams[at], -at))
        if smallest != latest:
            latest = smallest
            yield smallest


def _prints(submission: Submission) -> _Prints:
    tokens: list[_Token] = []
    positions: dict[int, list[int]] = defaultdict(list)
    for block in _tokens(submission.code):
        grams = _grams(block)
        for at in _winnow(grams):
            positions[grams[at]].append(len(tokens) + at)
        tokens += block
    return _Prints(submission, tokens, dict(positions))


def _regions(first: _Prints, second: _Prints, shared: set[int]) -> tuple[Region, ...]:
    """Join neighbouring shared fingerprints to passages; return the longest ones."""
    matches = sorted(
        (at, there)
        for fingerprint in shared
        for at in first.positions[fingerprint][:4]
        for there in second.positions[fingerprint][:4]
    )
    reach = 2 * GRAM  # what the release and the class have in common leaves gaps
    spans: list[list[int]] = []  # [first's start, first's end, second's start, second's end]
    for at, there in matches:
        for span in spans[-8:]:
            if 0 <= at - span[1] + GRAM <= reach and 0 <= there - span[3] + GRAM <= reach:
                span[1], span[3] = at + GRAM, there + GRAM
                break
        else:
            spans.append([at, at + GRAM, there, there + GRAM])
    spans.sort(key=lambda span: span[0] - span[1])
    kept: list[list[int]] = []
    for span in spans:
        if len(kept) < _MAX_REGIONS and not any(span[0] < k[1] and k[0] < span[1] for k in kept):
            kept.append(span)
    return tuple(
        Region(_lines(first, span[0], span[1]), _lines(second, span[2], span[3])) for span in kept
    )


def _lines(prints: _Prints, start: int, end: int) -> str:
    """Return the whole lines that tokens start to end stand on, bounded in number."""
    code = prints.submission.code[:_MAX_CODE]
    begin = code.rfind("\n", 0, prints.tokens[start].start) + 1
    finish = code.find("\n", prints.tokens[end - 1].end)
    lines = code[begin : finish if finish >= 0 else len(code)].split("\n")
    left_out = len(lines) - _MAX_REGION_LINES
    more = [f"... {left_out} more lines"] if left_out > 0 else []
    return "\n".join([*lines[:_MAX_REGION_LINES], *more])
