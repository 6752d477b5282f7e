"""What formgrader and nbgrader's feedback show: students' Markdown without scripts.

nbgrader renders Markdown cells and comments with whatever HTML is in them, in the instructor's
browser. Outputs need no cleaning: repaired notebooks have none but the grader's own.
"""

import re
from typing import Any

import bleach  # type: ignore[import-untyped]
from bleach.css_sanitizer import CSSSanitizer  # type: ignore[import-untyped]
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
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
# Boxes of a list of tasks are form elements, which nothing that a student wrote may have.
_BOX = re.compile(r'<input class="task-list-item-checkbox" type="checkbox" disabled( checked)?/>')
# nbgrader's pages have no style for tables, and frame every picture in red.
_TABLE = '<table class="table table-condensed" style="width: auto">'
_PICTURE = '<img style="border: 0; max-width: 100%" '


def safe_markdown(source: str) -> str:
    """Return Markdown as HTML in which nothing runs and nothing posts."""
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    html = MarkdownWithMath(renderer=renderer).render(source)
    html = _BOX.sub(lambda box: "\u2611 " if box[1] else "\u2610 ", html)
    clean: str = bleach.clean(
        html, tags=_TAGS, attributes=_ATTRIBUTES, css_sanitizer=CSSSanitizer()
    )
    # Of two attributes of one name, the first counts.
    return clean.replace("<table>", _TABLE).replace("<img ", _PICTURE)


class DropNotes(NbGraderPreprocessor):
    """Takes what is for the instructor only out of what students get."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Drop the cell that has the notes."""
        nb.cells = [cell for cell in nb.cells if NOTES_TAG not in cell.metadata.get("tags", ())]
        return nb, resources
