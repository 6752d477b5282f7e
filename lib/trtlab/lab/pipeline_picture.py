"""The picture at the top of every notebook: the pipeline, with the step that it is about in green.

`python -m trtlab.lab.pipeline_picture` draws solutions/*/pipeline.svg again: Markdown cells show
files. Each box brings its own background, so that it is readable in light and dark themes.
"""

from dataclasses import dataclass
from pathlib import Path

from trtlab.files import write_text

HERE, ELSEWHERE, INK, LINE = "#76B900", "#eeeeee", "#1b1b1b", "#8a8a8a"
WIDTH, HEIGHT = 152, 74
COLUMN, ROW = WIDTH + 32, HEIGHT + 18


@dataclass(frozen=True)
class Step:
    """One box: the notebook, what it makes, its time, and where it stands on the grid."""

    title: str
    makes: str
    minutes: int
    column: int
    row: float
    after: tuple[int, ...]

    @property
    def left(self) -> float:
        """Left edge in pixels."""
        return 2 + self.column * COLUMN

    @property
    def top(self) -> float:
        """Top edge in pixels."""
        return 2 + self.row * ROW


STEPS = (
    Step("0 Start", "a trained ResNet-50", 15, 0, 0.5, ()),
    Step("1 Export", "an ONNX graph", 45, 1, 0.5, (0,)),
    Step("2 Build", "FP16 engines", 60, 2, 0, (1,)),
    Step("3 Calibrate", "an INT8 engine", 90, 2, 1, (1,)),
    Step("4 Infer", "answers, on a stream", 60, 3, 0.5, (2, 3)),
    Step("5 Benchmark", "speed and accuracy", 90, 4, 0.5, (4,)),
    Step("6 Report", "charts and analysis", 30, 5, 0.5, (5,)),
)


def pipeline_svg(here: int) -> str:
    """Return the picture with step `here`, 0 to 6, in green."""
    width = max(step.left for step in STEPS) + WIDTH + 2
    height = max(step.top for step in STEPS) + HEIGHT + 2
    arrows = [_arrow(STEPS[number], step) for step in STEPS for number in step.after]
    boxes = [_box(step, number == here) for number, step in enumerate(STEPS)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" font-family="Helvetica, Arial, sans-serif" '
            'text-anchor="middle" role="img">',
            f"<title>The pipeline from PyTorch to TensorRT; here: {STEPS[here].title}</title>",
            f'<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/></marker></defs>',
            *arrows,
            *boxes,
            "</svg>",
            "",
        ]
    )


def _arrow(start: Step, end: Step) -> str:
    x1, y1 = start.left + WIDTH, start.top + HEIGHT / 2
    x2, y2 = end.left, end.top + HEIGHT / 2
    return (
        f'<path d="M{x1:g},{y1:g} L{x2 - 2:g},{y2:g}" stroke="{LINE}" stroke-width="2" '
        'fill="none" marker-end="url(#tip)"/>'
    )


def _box(step: Step, is_here: bool) -> str:
    middle = step.left + WIDTH / 2
    lines = (
        (24, 'font-size="17" font-weight="bold"', step.title),
        (45, 'font-size="14"', step.makes),
        (64, 'font-size="13"', f"{step.minutes} min"),
    )
    texts = "".join(
        f'<text x="{middle:g}" y="{step.top + y:g}" {font} fill="{INK}">{text}</text>'
        for y, font, text in lines
    )
    return (
        f'<g><rect x="{step.left:g}" y="{step.top:g}" width="{WIDTH}" height="{HEIGHT}" rx="8" '
        f'fill="{HERE if is_here else ELSEWHERE}" stroke="{LINE}"/>{texts}</g>'
    )


def draw(solutions: Path) -> None:
    """Write pipeline.svg into the folder of every notebook below `solutions`."""
    for folder in sorted(solutions.glob("0[0-6]-*")):
        write_text(folder / "pipeline.svg", pipeline_svg(int(folder.name[:2])))


if __name__ == "__main__":
    draw(Path("solutions"))
