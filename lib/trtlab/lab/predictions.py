"""`predict("FP16 speed-up", 3)`: commit a guess before measuring, and see it beside the result.

Guesses are kept in predictions.json in the notebook's folder, so that lab 6 finds those of lab 2.
"""

import json
from numbers import Real
from pathlib import Path

from matplotlib.figure import Figure

from trtlab.errors import InputError
from trtlab.files import write_text

FILE = "predictions.json"
MEASURED_COLOUR, GUESS_COLOUR = "#76B900", "#8c8c8c"


def predict(what: str, value: float) -> str:
    """Record a guess. The first one counts: a guess made after the measurement is none.

    Raises:
        InputError: if the value is no positive number.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < float("inf"):
        raise InputError(f"Your guess is {value!r}; give a positive number, such as 2.5.")
    guesses = read_predictions()
    if what in guesses:
        return f"Your guess for the {what} stands: {guesses[what]:g}"
    write_text(FILE, json.dumps(guesses | {what: float(value)}, indent=2))
    return f"Your guess for the {what}: {value:g}"


def read_predictions() -> dict[str, float]:
    """Return the guesses of this notebook and of the other labs' folders, by what they are of.

    Raises:
        InputError: if a file of guesses is damaged.
    """
    guesses: dict[str, float] = {}
    for path in [*sorted(Path("..").glob(f"*/{FILE}")), Path(FILE)]:
        if path.is_file():
            try:
                guesses |= json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{path} is damaged ({error}). Delete it and guess anew."
                ) from error
    return guesses


def show_predictions(measured: dict[str, float], unit: str = "x") -> Figure:
    """Draw each guess beside what was measured.

    Args:
        measured: what -> the measured value, in the unit of the guess.
        unit: of both, for the labels.
    """
    guesses = read_predictions()
    figure = Figure(figsize=(7, 0.9 + 0.9 * len(measured)), layout="constrained")
    axes = figure.subplots()
    for row, (what, value) in enumerate(measured.items()):
        axes.barh(row + 0.2, value, height=0.36, color=MEASURED_COLOUR)
        axes.text(value, row + 0.2, f" {value:.3g}{unit} measured", va="center")
        guess = guesses.get(what)
        if guess is not None:
            axes.barh(row - 0.2, guess, height=0.36, color=GUESS_COLOUR)
        label = f" {guess:.3g}{unit} guessed" if guess is not None else " no guess"
        axes.text(guess or 0, row - 0.2, label, va="center")
    axes.set_yticks(range(len(measured)), list(measured))
    axes.set_xlim(0, 1.45 * max([*measured.values(), *(guesses.get(w, 0) for w in measured)]))
    axes.set_xlabel(f"value ({unit.strip()})")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
