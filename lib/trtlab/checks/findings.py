"""Short ways to write the findings that most checks are made of."""

from trtlab.checks.verdict import Finding, State


def expect(
    criterion: str,
    holds: bool,
    points: float,
    *,
    measured: object,
    required: object,
    next_step: str,
    misconception: str | None = None,
    margin: str = "",
) -> Finding:
    """Return a finding that earns all its points or none.

    `next_step` and `misconception` say what to do if it does not hold; a pass leaves them out.
    """
    return Finding(
        criterion=criterion,
        state="pass" if holds else "fail",
        points=points if holds else 0,
        max_points=points,
        measured=str(measured),
        required=str(required),
        margin=margin,
        misconception=None if holds else misconception,
        next_step="" if holds else next_step,
    )


def expect_interval(
    criterion: str,
    points: float,
    *,
    value: float,
    low: float,
    high: float,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str,
    next_step: str,
    misconception: str | None = None,
) -> Finding:
    """Return a three-state finding on a measured interval [low, high] against one threshold.

    Exactly one of `at_least` and `at_most` is given. An interval that straddles the threshold is
    inconclusive and earns the points: the doubt is the measurement's, not the student's.
    """
    if (at_least is None) == (at_most is None):
        raise ValueError("give exactly one of at_least and at_most")
    state: State
    if at_least is not None:
        state = "pass" if low >= at_least else "fail" if high < at_least else "inconclusive"
        required, margin = f"at least {at_least:g}{unit}", value - at_least
    else:
        assert at_most is not None
        state = "pass" if high <= at_most else "fail" if low > at_most else "inconclusive"
        required, margin = f"at most {at_most:g}{unit}", at_most - value
    failed = state == "fail"
    return Finding(
        criterion=criterion,
        state=state,
        points=0 if failed else points,
        max_points=points,
        measured=f"{value:.3g}{unit} (95 % interval {low:.3g} to {high:.3g})",
        required=required,
        margin=f"{abs(margin):.3g}{unit} {'short' if margin < 0 else 'to spare'}",
        misconception=misconception if failed else None,
        next_step=next_step if failed else "",
    )


def needs_gpu(criterion: str, points: float, *, required: str) -> Finding:
    """Return the finding on something that emulated time says nothing about."""
    return Finding(
        criterion=criterion,
        state="needs a GPU",
        points=0,
        max_points=points,
        measured="not measured: this machine emulates TensorRT",
        required=required,
        next_step="Nothing to do: this is measured when your notebook is graded on a GPU.",
    )
