"""Where an engine's time goes: each layer by TensorRT's own profiler, beside the roof above it.

It says what keeps an engine from its ceiling: layers that wait for memory, layers that only convert
between layouts, or kernels that do less arithmetic than the card can; their names begin with the
GPU generation for which they were written. A profiled run takes longer than a replay of the graph.
"""

from collections import defaultdict
from typing import Any

import onnx

from speed.ceilings import CardCeilings, card_ceilings
from speed.device import DeviceEngine
from speed.rig import NEEDS_GPU, STANDARD, Rig
from speed.roofline import BYTES, REPLAYS, attained
from trtlab.engines import load_engine
from trtlab.inspect import Layer, inspect_engine
from trtlab.progress import track
from trtlab.roofline import Node, as_kernels, count_nodes
from trtlab.spec import Precision

BATCH = 128
RUNS = (20, 2)  # at full length, and where only the scripts are tried


def measure(rig: Rig) -> dict[str, Any]:
    """Return for the FP16 and the INT8 engine what each layer took, and what it could have."""
    if rig.emulated:
        return NEEDS_GPU
    ceilings = card_ceilings()
    nodes = count_nodes(onnx.load(rig.onnx()), BATCH)
    precisions = (Precision.FP16, Precision.INT8)
    return {
        "batch": BATCH,
        "engines": [
            profiled(rig, precision, nodes, ceilings) for precision in track(precisions, "layers")
        ],
    }


def profiled(
    rig: Rig, precision: Precision, nodes: list[Node], ceilings: CardCeilings
) -> dict[str, Any]:
    """Return an engine's layers in their order, and the seconds of all of them in one replay."""
    path = rig.engine(precision, STANDARD)
    engine = DeviceEngine(load_engine(path), rig.images(BATCH), BATCH)
    seconds = engine.layer_seconds(rig.count(*RUNS))
    rows = []
    for layer in inspect_engine(path).layers:
        row: dict[str, Any] = {
            "layer": layer.name,
            "kind": layer.kind,
            "kernel": layer.tactic,
            "seconds": seconds.get(layer.name),
        }
        if row["seconds"]:
            row |= least(layer, precision, row["seconds"], nodes, ceilings)
        rows.append(row)
    return {
        "precision": precision.value,
        "replay_seconds": engine.seconds(rig.count(*REPLAYS)),
        "share_by_generation": shares(rows),
        "layers": rows,
    }


def least(
    layer: Layer, precision: Precision, seconds: float, nodes: list[Node], ceilings: CardCeilings
) -> dict[str, Any]:
    """Return a layer's work and how near its roof it comes; nothing for one without work."""
    kernels = as_kernels(nodes, [layer.onnx_nodes], bytes_per_element=BYTES[precision])
    if not kernels:
        return {}
    (kernel,) = kernels
    work = {"flops": kernel.flops, "bytes": kernel.bytes}
    return work | attained(kernel, precision, seconds, ceilings)


def shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the share of the time in kernels of each generation, "sm80" for one; "" for others."""
    taken: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        generation = (row["kernel"] or "").split("_")[0]
        taken[generation if generation.startswith("sm") else ""] += row["seconds"] or 0.0
    whole = sum(taken.values()) or 1.0
    return {name: seconds / whole for name, seconds in sorted(taken.items())}
