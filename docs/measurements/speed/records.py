"""Reads what measure_speed.py wrote: one record a section, without those that failed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Record:
    """What a section measured, and where; `trial` if its figures mean nothing."""

    data: dict[str, Any]
    gpu: str
    tensorrt: str
    commit: str
    trial: bool

    def part(self, name: str) -> Any:
        """Return a part of the data; {} if it is missing, failed or needs a GPU."""
        return _usable(self.data.get(name, {}))


def read_records(folder: Path) -> dict[str, Record]:
    """Return the records of FOLDER/speed-*.json by section."""
    records = {}
    for path in sorted(folder.glob("speed-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        data = _usable(found.get("data", {}))
        if not data:
            continue
        machine = found["machine"]
        records[found["section"]] = Record(
            data=data,
            gpu=machine["gpu"]["name"] if machine["gpu"] else machine["cpu"],
            tensorrt=machine["versions"]["tensorrt"],
            commit=found["commit"],
            trial=found["quick"] or found["emulated"],
        )
    return records


def _usable(data: Any) -> Any:
    return {} if isinstance(data, dict) and data.keys() & {"error", "skipped"} else data
