"""Probes of written answers: 1.3, 2.5 and 3.6, and what 6.2 has in common with them.

A kernel does not see Markdown cells, so the text is read from the notebook's file.
"""

from pathlib import Path

from trtlab.checks.evidence import Attempt
from trtlab.checks.explanations import ExplanationEvidence
from trtlab.checks.notebooks import answer, notebook_with
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe


class TextProbe(Probe[Observed]):
    """A task that is answered in a Markdown cell; subclasses say in which."""

    observed = Observed
    grade_id: str

    def run(self, names: Names, given: Path, made: Path) -> Observed:
        """Nothing is asked of the student's kernel."""
        return Observed(attempt=self.done)

    @property
    def done(self) -> Attempt:
        """What is said of code that there is none of."""
        return Attempt(stage="done", what="the text")

    def text_in(self, folder: Path) -> tuple[str, str]:
        """Return the answer in a lab's folder, "" if there is none, and where it was looked for."""
        path = notebook_with(folder, self.grade_id)
        return (answer(path, self.grade_id), path.name) if path else ("", "this folder")


class _ExplanationProbe(TextProbe):
    def evidence(self, observed: Observed, scene: Scene) -> ExplanationEvidence:
        """Read the text."""
        text, source = self.text_in(scene.folder)
        return ExplanationEvidence(attempt=self.done, text=text, source=source)


@probe("1.3")
class ExportExplanation(_ExplanationProbe):
    """Explain the export."""

    grade_id = "task-1-3"


@probe("2.5")
class BuildExplanation(_ExplanationProbe):
    """Explain what the builder did."""

    grade_id = "task-2-5"


@probe("3.6")
class CalibrationExplanation(_ExplanationProbe):
    """Explain the calibration."""

    grade_id = "task-3-6"
