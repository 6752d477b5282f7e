"""`show_checklist()`: the course's submission checklist, filled in from the files that are there.

It looks into the folders of all labs beside the current one. "Found" says that a usable file is
there, not that it earns points: that is what the checks are for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from IPython.display import display

from trtlab.calibration_cache import CalibrationCache
from trtlab.checks.notebooks import course_definitions, definitions
from trtlab.engines import load_engine
from trtlab.errors import InputError, TrtLabError
from trtlab.export import batch_dimension, load_onnx
from trtlab.results import Results, read_results

State = Literal["found", "missing", "by hand"]
MARKS: dict[State, str] = {"found": "☑", "missing": "☐", "by hand": "✎"}


@dataclass(frozen=True)
class Item:
    """One line of the checklist: what is asked for, its state, and what was seen."""

    title: str
    state: State
    seen: str


class Checklist:
    """The items, displayable as an HTML table and as text."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        rows = "".join(_row(item) for item in self.items)
        head = "".join(f'<th style="text-align:left">{t}</th>' for t in ("", "Item", "Seen"))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        lines = [f"{MARKS[i.state]} {i.title}: {i.state} ({i.seen})" for i in self.items]
        return {"text/html": table, "text/plain": "\n".join(lines)}


def show_checklist() -> None:
    """Show the submission checklist for the notebooks in the folders beside this one."""
    display(Checklist(checklist()))


def checklist() -> list[Item]:
    """Return the items of the course's submission checklist, in its order."""
    return [
        _item("ONNX model exported and simplified", _onnx),
        _item("FP16 TensorRT engines built", _fp16_engines),
        _item("INT8 calibration implemented", _calibration),
        _item("INT8 TensorRT engine built", _int8_engine),
        _item("Inference class implemented", _inference_class),
        _item("Latency measured", lambda: _measured("latency")),
        _item("Throughput measured", lambda: _measured("throughput")),
        _item("Accuracy evaluated", lambda: _measured("accuracy")),
        _item("Performance report generated", _report),
        _item("Code documented", _documented),
        Item("Code formatted, analysis written", "by hand", "read by whoever grades it"),
    ]


def _item(title: str, look: Callable[[], str]) -> Item:
    """Return the item; `look` says what it saw, or raises if it is not all there."""
    try:
        return Item(title, "found", look())
    except (TrtLabError, OSError) as error:
        return Item(title, "missing", str(error).split("\n")[0])


def _path(lab: str, name: str) -> Path:
    path = next((p for p in (Path(name), Path("..") / lab / name) if p.is_file()), None)
    if path is None:
        raise InputError(f"no {name} in {lab}")
    return path


def _onnx() -> str:
    path = _path("01-export", "resnet50_simplified.onnx")
    model = load_onnx(path)
    batch = "a fixed" if batch_dimension(model) else "a dynamic"
    return f"{path.name}, {len(model.graph.node)} nodes, {batch} batch"


def _engine(lab: str, name: str) -> str:
    path = _path(lab, name)
    load_engine(path)
    return f"{path.name}, {path.stat().st_size / 2**20:.1f} MiB"


def _fp16_engines() -> str:
    names = ("resnet50_fp16.engine", "resnet50_dynamic_fp16.engine")
    return "; ".join(_engine("02-build", name) for name in names)


def _int8_engine() -> str:
    return _engine("03-calibrate", "resnet50_int8.engine")


def _calibration() -> str:
    path = _path("03-calibrate", "resnet50_calib.cache")
    cache = CalibrationCache.read(path)
    return f"{path.name}, {len(cache.scales)} scales, {cache.algorithm}"


def _inference_class() -> str:
    found = [d for d in definitions(_path("04-infer", "04-infer.ipynb")) if "Inference" in d.name]
    written = [d.name for d in found if not d.unwritten]
    if not written:
        raise InputError("no class in 04-infer.ipynb without NotImplementedError")
    return f"class {written[0]} in 04-infer.ipynb"


def _measured(quantity: str) -> str:
    path = _path("05-benchmark", "results.json")
    results = read_results(path)
    names = [r.name for r in results.runners if _has(results, r.name, quantity)]
    if len(names) < len(results.runners):
        raise InputError(f"{path.name} has it for {len(names)} of {len(results.runners)} runners")
    return f"{', '.join(names)} in {path.name}"


def _has(results: Results, runner: str, quantity: str) -> bool:
    entry = results.runner(runner)
    assert entry is not None
    return bool(entry.accuracy) if quantity == "accuracy" else bool(entry.batches)


def _report() -> str:
    notebook = _path("06-report", "06-report.ipynb")
    unwritten = [d.name for d in definitions(notebook) if d.unwritten]
    if unwritten:  # the library's report.html is there all the same
        raise InputError(f"{', '.join(unwritten)} not written yet in {notebook.name}")
    path = _path("06-report", "report.html")
    return f"{path.name}, {path.stat().st_size / 2**10:.0f} KiB"


def _documented() -> str:
    written = [d for d in course_definitions(Path()) if not d.unwritten]
    bare = [f"{d.name} in {d.notebook}" for d in written if not d.documented]
    if bare or not written:
        raise InputError(f"no docstring: {', '.join(bare[:3])}" if bare else "nothing written yet")
    return f"{len(written)} functions and classes in {len({d.notebook for d in written})} notebooks"


def _row(item: Item) -> str:
    cells = (f"{MARKS[item.state]} {item.state}", item.title, item.seen)
    style = "text-align:left;white-space:normal"
    return "<tr>" + "".join(f'<td style="{style}">{escape(c)}</td>' for c in cells) + "</tr>"
