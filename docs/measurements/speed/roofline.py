"""Where the engines stand under the roofline: work from the ONNX graph, ceilings from the card.

The bytes are the least that each engine's own fusions allow, so intensity is an upper bound.
"""

import dataclasses
from pathlib import Path
from typing import Any

import onnx

from speed.ceilings import CardCeilings, card_ceilings
from speed.device import DeviceEngine
from speed.rig import NEEDS_GPU, STANDARD, Rig
from trtlab.engines import load_engine
from trtlab.inspect import inspect_engine
from trtlab.progress import track
from trtlab.roofline import Kernel, as_kernels, count_nodes, total
from trtlab.spec import Precision

BYTES = {Precision.FP32: 4, Precision.FP16: 2, Precision.INT8: 1}
REPLAYS = (30, 3)  # at full length, and where only the scripts are tried


def measure(rig: Rig) -> dict[str, Any]:
    """Return the ceilings, and for each engine and batch the work, the time and the share."""
    ceilings = None if rig.emulated else card_ceilings()
    points = []
    for precision in track(BYTES, "roofline"):
        path = rig.engine(precision, STANDARD)
        work = {batch: least_work(rig.onnx(), path, precision, batch) for batch in rig.batches}
        seconds = {} if ceilings is None else engine_seconds(rig, path)
        for batch, kernel in work.items():
            point = {
                "precision": precision.value,
                "batch": batch,
                "flops": kernel.flops,
                "bytes": kernel.bytes,
                "flops_per_byte": kernel.intensity,
            }
            if ceilings is not None:
                point |= attained(kernel, precision, seconds[batch], ceilings)
            points.append(point)
    return {
        "ceilings": NEEDS_GPU if ceilings is None else dataclasses.asdict(ceilings),
        "points": points,
    }


def least_work(graph: Path, engine: Path, precision: Precision, batch: int) -> Kernel:
    """Return the FLOPs of the graph and the least bytes that the engine's kernels move."""
    groups = [layer.onnx_nodes for layer in inspect_engine(engine).layers]
    nodes = count_nodes(onnx.load(graph), batch)
    fused = total(as_kernels(nodes, groups, bytes_per_element=BYTES[precision]))
    # Nodes that the inspector names in no layer still compute.
    return dataclasses.replace(fused, flops=sum(node.flops for node in nodes))


def engine_seconds(rig: Rig, path: Path) -> dict[int, float]:
    """Return the seconds of one inference by batch, replayed back to back on the GPU."""
    engine = load_engine(path)
    return {
        batch: DeviceEngine(engine, rig.images(batch), batch).seconds(rig.count(*REPLAYS))
        for batch in rig.batches
    }


def attained(
    work: Kernel, precision: Precision, seconds: float, ceilings: CardCeilings
) -> dict[str, Any]:
    """Return the rates that were reached, and the share of what the roofline allows."""
    arithmetic = work.flops / ceilings.ops(precision.value)
    memory = work.bytes / ceilings.bytes_per_second
    return {
        "seconds": seconds,
        "flops_per_second": work.flops / seconds,
        "bytes_per_second": work.bytes / seconds,
        "bound_by": "arithmetic" if arithmetic > memory else "memory",
        "share_of_roof": max(arithmetic, memory) / seconds,
    }
