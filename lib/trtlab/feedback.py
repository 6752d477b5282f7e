"""The card a student sees after a check: measured, required, margin, misconception, next step.

Renders a Verdict as HTML and as plain text. The HTML uses JupyterLab's theme variables, so that it
is readable in light and dark themes, with fallbacks for pages outside JupyterLab.
"""

from html import escape

from trtlab.backend import BADGE, IS_EMULATED
from trtlab.checks.misconceptions import MISCONCEPTIONS
from trtlab.checks.verdict import Finding, State, Verdict

_COLOURS: dict[State, str] = {
    "pass": "#76B900",
    "inconclusive": "#76B900",
    "needs a GPU": "#8a8a8a",
    "fail": "#d9534f",
    "not started": "#e0a100",
}
_WORDS: dict[State, str] = {
    "pass": "passed",
    "inconclusive": "passed (inconclusive)",
    "needs a GPU": "graded on a GPU",
    "fail": "not yet",
    "not started": "not started",
}


class Card:
    """A verdict, displayable in a notebook as HTML and anywhere else as text."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": html_card(self.verdict), "text/plain": text_card(self.verdict)}


def _points(earned: float, most: float) -> str:
    return f"{earned:g} of {most:g} points"


def text_card(verdict: Verdict) -> str:
    """Return the card as plain text."""
    lines = [
        f"Task {verdict.task}: {verdict.title}",
        f"{_WORDS[verdict.state]}, {_points(verdict.points, verdict.max_points)}",
    ]
    if IS_EMULATED:
        lines.append(f"[{BADGE}]")
    for finding in verdict.findings:
        lines += ["", f"- {finding.criterion}: {_WORDS[finding.state]} ({finding.points:g} points)"]
        lines.append(f"    measured: {finding.measured}")
        margin = f" ({finding.margin})" if finding.margin else ""
        lines.append(f"    required: {finding.required}{margin}")
        if finding.misconception:
            likely = MISCONCEPTIONS[finding.misconception]
            lines.append(f"    likely misconception: {likely.title}. {likely.explanation}")
        if finding.next_step:
            lines.append(f"    next: {finding.next_step}")
    return "\n".join(lines)


def html_card(verdict: Verdict) -> str:
    """Return the card as HTML. Everything that came from a student's code is escaped."""
    colour = _COLOURS[verdict.state]
    badge = (
        f'<div style="display:inline-block;background:#ffd042;color:#222;border-radius:3px;'
        f'padding:0 .4em;font-size:85%">{escape(BADGE)}</div>'
        if IS_EMULATED
        else ""
    )
    rows = "".join(map(_row, verdict.findings))
    return (
        f'<div class="trtlab-card" style="border:1px solid var(--jp-border-color1,#bbb);'
        f"border-left:6px solid {colour};border-radius:4px;padding:.6em .9em;max-width:60em;"
        'background:var(--jp-layout-color1,transparent);color:var(--jp-ui-font-color1,inherit)">'
        f"<div><b>Task {escape(verdict.task)}: {escape(verdict.title)}</b></div>"
        f"<div>{_WORDS[verdict.state]}, {_points(verdict.points, verdict.max_points)}</div>{badge}"
        '<table style="margin:.5em 0 0;border-collapse:collapse;width:100%;table-layout:auto">'
        "<thead><tr>" + "".join(map(_heading, ("", "measured", "required", "points"))) + "</tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _heading(text: str) -> str:
    return f'<th style="text-align:left;padding:.2em .6em">{text}</th>'


def _cell(content: str) -> str:
    style = "text-align:left;vertical-align:top;padding:.2em .6em;white-space:normal"
    return f'<td style="{style}">{content}</td>'


def _row(finding: Finding) -> str:
    dot = (
        f'<span style="color:{_COLOURS[finding.state]}" title="{_WORDS[finding.state]}">'
        f"&#9679;</span> {escape(finding.criterion)}"
    )
    required = escape(finding.required)
    if finding.margin:
        required += f" ({escape(finding.margin)})"
    cells = [
        _cell(dot),
        _cell(escape(finding.measured)),
        _cell(required),
        _cell(f"{finding.points:g}/{finding.max_points:g}"),
    ]
    notes = []
    if finding.misconception:
        likely = MISCONCEPTIONS[finding.misconception]
        notes.append(f"<b>{escape(likely.title)}.</b> {escape(likely.explanation)}")
    if finding.next_step:
        notes.append(f"<b>Next:</b> {escape(finding.next_step)}")
    below = ""
    if notes:
        text = "<br>".join(notes)
        style = (
            "text-align:left;padding:.2em .6em .6em 1.6em;white-space:normal;"
            "background:var(--jp-layout-color2,rgba(128,128,128,.12))"
        )
        below = f'<tr><td colspan="4" style="{style}">{text}</td></tr>'
    return f"<tr>{''.join(cells)}</tr>{below}"
