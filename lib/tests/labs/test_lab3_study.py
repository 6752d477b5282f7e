"""What lab 3 says of calibrations on a GPU is what was measured there."""

import json
from typing import Any

import nbformat

from labs.harness import ROOT

MEASURED = ROOT / "docs/measurements/h200-speed/speed-calibration.json"
ROWS = {
    "128 images": (128, "images", "entropy"),
    "128 images, min-max": (128, "images", "minmax"),
    "1,024 images": (1024, "images", "entropy"),
    "8 images": (8, "images", "entropy"),
    "1 image": (1, "images", "entropy"),
    "128 images, blue and red swapped": (128, "blue and red swapped", "entropy"),
    "128 images, not normalised": (128, "not normalised", "entropy"),
    "128 pictures of noise": (128, "noise", "entropy"),
}


def line(name: str, found: dict[str, Any]) -> str:
    change = found["change"]
    points, low, high = (
        f"{change[key]:+.2f}".replace("-", "\N{MINUS SIGN}") for key in ("points", "low", "high")
    )
    return f"| {name} | {points} [{low}, {high}] | {100 * found['logits_error']:.1f} % |"


def test_the_table_of_calibrations_is_the_committed_measurement() -> None:
    notebook = nbformat.read(ROOT / "solutions/03-calibrate/03-calibrate.ipynb", as_version=4)
    (text,) = (cell.source for cell in notebook.cells if cell.id == "study-questions")
    facts = json.loads(MEASURED.read_text())
    assert (facts["emulated"], facts["quick"]) == (False, False)
    measured = {
        (row["images"], row["shown"], row["algorithm"]): row for row in facts["data"]["measured"]
    }
    shown = [row for row in text.splitlines() if row.startswith(("| 1", "| 8"))]
    assert shown == [line(name, measured[key]) for name, key in ROWS.items()]
