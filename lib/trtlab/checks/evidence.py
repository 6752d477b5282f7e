"""What all evidence has in common: plain data, and what became of the student's code.

Each lab module defines the evidence of its tasks as subclasses of Evidence. A probe fills it:
trtlab.lab in the notebook, the grader from outside. A check reads nothing else.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Stage = Literal["missing", "not started", "raised", "done"]


class Attempt(BaseModel):
    """How far a piece of the student's code got.

    Attributes:
        stage: "missing": the name does not exist (its cell has not run); "not started": it raised
            NotImplementedError; "raised": another exception; "done": it returned.
        what: the name of the function or class.
        error: "ValueError: ..." where it raised, else "".
    """

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    what: str
    error: str = ""


class Evidence(BaseModel):
    """Facts about a student's work on one task; JSON-able."""

    model_config = ConfigDict(extra="forbid")

    attempt: Attempt
