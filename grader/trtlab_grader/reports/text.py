"""What becomes of a text before it is shown: bounded, nothing invisible in it, no paths.

Escaping is Jinja's part (page.py). This is about what survives escaping: characters that turn the
reading direction, hide a word or break an encoding, and where things are on the grader's machine.
"""

import re
import unicodedata

LONGEST = 4000  # characters of one text; an exception's message may be a megabyte

# Two or more components: "/tmp" tells nothing, and "1/8/32" or "and/or" is no path.
_PATH = re.compile(r"""(?:\bfile://|(?<![\w/.~-]))(?:/[^\s/'"`<>|:,;()\[\]{}]+){2,}/?""")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str) -> str:
    """Return a text with control, direction and zero-width characters written as escapes.

    Line breaks and tabs stay. What is longer than LONGEST is cut, and says so.
    """
    cut = f" ... ({len(text):,} characters)" if len(text) > LONGEST else ""
    return "".join(map(_shown, text[:LONGEST])) + cut


def for_students(text: str) -> str:
    """Return what `visible` does, with absolute paths cut down to the file's name."""
    return _PATH.sub(lambda match: "…/" + match[0].rstrip("/").rpartition("/")[2], visible(text))


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE:
        return character
    return f"\\u{ord(character):04x}"


def points(value: float) -> str:
    """Write points without noise: 4, 4.5, 3.33."""
    return f"{round(value, 2):g}"
