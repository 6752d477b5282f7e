"""Measures how fast engines are, beside what a user would pick instead, one section at a time.

    python docs/measurements/measure_speed.py OUT                          # all of them
    python docs/measurements/measure_speed.py OUT --only speedup,compiled --timing-cache FILE

Each writes OUT/speed-{section}.json as soon as it is done: machine, versions, commit, seconds and
what was found. Model and engines stay in OUT/work, for a next run. A section that fails says so in
its file, and the others go on. Takes a GPU; with --quick the scripts themselves are tried, on the
emulation too, and the figures mean nothing.
"""

import argparse
import gc
import importlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from provenance import provenance
from speed.rig import Rig

from trtlab.backend import IS_EMULATED
from trtlab.files import write_text

# The short ones first, so that a run that is cut short leaves most.
SECTIONS = (
    *("sizes", "latency", "overhead", "pinned_ways", "streaming", "speedup", "roofline"),
    *("layers", "accuracy", "load", "int8_peak", "growth", "calibration", "compiled", "rebuild"),
    "first_build",
)


def main() -> None:
    """Measure the sections that are asked for, in the order of SECTIONS."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    parser.add_argument("--timing-cache", type=Path, help="read and updated; else OUT/timing.cache")
    parser.add_argument("--quick", action="store_true", help="try the scripts; no figures")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if IS_EMULATED and not arguments.quick:
        sys.exit("measure_speed.py: the emulation's times are no speed. Run it on a GPU with "
                 "TensorRT, or with --quick to try the scripts.")  # fmt: skip
    timing_cache = arguments.timing_cache or arguments.out / "timing.cache"
    work = arguments.out / ("work-quick" if arguments.quick else "work")
    work.mkdir(parents=True, exist_ok=True)
    rig = Rig(work, timing_cache, arguments.quick)
    failed = [s for s in SECTIONS if s in wanted and not measure(s, rig, arguments.out)]
    if failed:
        sys.exit(f"measure_speed.py: failed: {', '.join(failed)}")


def measure(section: str, rig: Rig, out: Path) -> bool:
    """Run one section and write its file; return whether it succeeded."""
    print(f"== {section}", file=sys.stderr, flush=True)
    found: dict[str, Any] = {}
    start = time.perf_counter()
    try:
        found["data"] = importlib.import_module(f"speed.{section}").measure(rig)
        json.dumps(found)  # what is no JSON is an error of the section
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - start
    facts = {
        "section": section,
        "quick": rig.quick,
        "emulated": rig.emulated,
        # Read now: clocks and temperature of an idle machine say little about a measurement.
        **provenance(),
        "seconds": round(seconds, 1),
    }
    target = out / f"speed-{section}.json"
    write_text(target, json.dumps(facts | found, indent=1) + "\n")
    print(f"== {section}: {seconds:.1f} s, {target}", file=sys.stderr, flush=True)
    gc.collect()
    torch.cuda.empty_cache()
    return "data" in found


if __name__ == "__main__":
    main()
