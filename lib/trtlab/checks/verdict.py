"""What a check says: points with the reasons for them, as plain data.

A verdict is made of findings, one for each thing that was looked at, so that a student sees which
part of a task works. Nothing here knows how the evidence was collected or how it is shown.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, computed_field, model_validator

State = Literal["pass", "fail", "inconclusive", "not started", "needs a GPU"]
"""Inconclusive: an interval straddles the threshold; the benefit goes to the student."""

_WORST_FIRST: tuple[State, ...] = ("not started", "fail", "needs a GPU", "inconclusive", "pass")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Finding(_Record):
    """One thing that was looked at: what was measured, what was required, and what it earned.

    Attributes:
        criterion: what was looked at, as a short phrase: "the batch is dynamic".
        state: see State.
        points: earned, of `max_points`.
        measured: in words or with its unit: "batch fixed at 2".
        required: likewise: "a symbolic batch".
        margin: how far from the requirement, where that is a number: "0.4x above".
        misconception: key of misconceptions.MISCONCEPTIONS, where one was recognised.
        next_step: what to do now; empty on a pass.
    """

    criterion: str
    state: State
    points: NonNegativeFloat
    max_points: NonNegativeFloat
    measured: str
    required: str
    margin: str = ""
    misconception: str | None = None
    next_step: str = ""

    @model_validator(mode="after")
    def _earns_no_more_than_there_is(self) -> "Finding":
        if self.points > self.max_points:
            raise ValueError(f"{self.points:g} of {self.max_points:g} points: {self.criterion}")
        return self


class Verdict(_Record):
    """The findings of one task, and what they add up to."""

    task: str  # "2.2"
    title: str
    findings: tuple[Finding, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def points(self) -> float:
        """Points earned."""
        return round(sum(finding.points for finding in self.findings), 2)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def max_points(self) -> float:
        """Points that the task is worth."""
        return round(sum(finding.max_points for finding in self.findings), 2)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> State:
        """The worst state among the findings."""
        return min((f.state for f in self.findings), key=_WORST_FIRST.index)

    @property
    def misconceptions(self) -> tuple[str, ...]:
        """Keys of the misconceptions that were recognised, in the order of the findings."""
        return tuple(dict.fromkeys(f.misconception for f in self.findings if f.misconception))
