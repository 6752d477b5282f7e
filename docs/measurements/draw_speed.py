"""Draws what measure_speed.py measured: PNG figures and a table of the targets, beside its JSON.

    python docs/measurements/draw_speed.py FOLDER

Sections that are missing or failed are left out of the figures; the table says so of them.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from speed import figures_calls, figures_engines, figures_growth, figures_layers
from speed.records import Record, read_records
from speed.targets import targets_markdown

from trtlab.files import atomic_path, write_text
from trtlab.plot_style import STYLE

DPI = 160


class Drawing(NamedTuple):
    """A figure, the section that it shows, and the part of its data that it cannot do without."""

    name: str
    section: str
    part: str
    draw: Callable[[Record], Figure]


DRAWINGS = (
    *(
        Drawing(f"{what}-{precision}", what, "rows", partial(draw, precision=precision))
        for what, draw in (
            ("latency", figures_calls.latency_figure),
            ("streaming", figures_calls.streaming_figure),
        )
        for precision in ("fp16", "int8")
    ),
    Drawing("speedup", "speedup", "device_resident", figures_calls.speedup_figure),
    Drawing("growth-batch", "growth", "batch", figures_growth.batch_figure),
    Drawing("growth-slots", "growth", "slots", figures_growth.slots_figure),
    Drawing("growth-contexts", "growth", "contexts", figures_growth.contexts_figure),
    Drawing("growth-profile", "growth", "profile", figures_growth.profile_figure),
    Drawing("roofline", "roofline", "ceilings", figures_engines.roofline_figure),
    *(
        Drawing(
            f"layers-{precision}",
            "layers",
            "engines",
            partial(figures_layers.layers_figure, precision=precision),
        )
        for precision in ("fp16", "int8")
    ),
    Drawing("int8-peak", "int8_peak", "configurations", figures_engines.int8_peak_figure),
    Drawing(
        "calibration-images", "calibration", "measured", figures_engines.calibration_curve_figure
    ),
    Drawing(
        "calibration-study", "calibration", "measured", figures_engines.calibration_study_figure
    ),
)


def main() -> None:
    """Write the figures and FOLDER/targets.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    records = read_records(folder)
    if not records:
        sys.exit(f"draw_speed.py: no measurement in {folder}; make one with measure_speed.py.")
    for drawing in DRAWINGS:
        record = records.get(drawing.section)
        if record is None or not record.part(drawing.part):
            print(f"no {drawing.name}: not measured", file=sys.stderr)
            continue
        with (
            matplotlib.rc_context(STYLE),
            atomic_path(folder / f"{drawing.name}.png") as temporary,
        ):
            drawing.draw(record).savefig(temporary, format="png", dpi=DPI)
    write_text(folder / "targets.md", targets_markdown(records))


if __name__ == "__main__":
    main()
