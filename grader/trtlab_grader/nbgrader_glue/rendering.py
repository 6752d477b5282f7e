"""What formgrader and nbgrader's feedback show: students' Markdown without scripts.

nbgrader renders Markdown cells and comments with whatever HTML is in them, in the instructor's
browser. Outputs need no cleaning: repaired notebooks have none but the grader's own.
"""

from typing import Any

import bleach  # type: ignore[import-untyped]
from bleach.css_sanitizer import CSSSanitizer  # type: ignore[import-untyped]
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from trtlab_grader.nbgrader_glue.verdicts import NOTES_TAG

_TAGS = bleach.ALLOWED_TAGS | {
    *("p", "br", "hr", "div", "span", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "img", "del"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "sub", "sup", "kbd"),
}
_ATTRIBUTES = {
    **bleach.ALLOWED_ATTRIBUTES,
    "*": ["class", "id", "style", "align"],
    "img": ["src", "alt", "title", "width", "height"],
}


def safe_markdown(source: str) -> str:
    """Return Markdown as HTML in which nothing runs and nothing posts."""
    html = markdown2html(source)
    clean: str = bleach.clean(
        html, tags=_TAGS, attributes=_ATTRIBUTES, css_sanitizer=CSSSanitizer()
    )
    return clean


class DropNotes(NbGraderPreprocessor):
    """Takes what is for the instructor only out of what students get."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Drop the cell that has the notes."""
        nb.cells = [cell for cell in nb.cells if NOTES_TAG not in cell.metadata.get("tags", ())]
        return nb, resources
