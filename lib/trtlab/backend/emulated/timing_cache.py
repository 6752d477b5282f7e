"""ITimingCache: what the builder learned about layers, kept between builds.

TensorRT stores how long each tactic of a layer took, so that the next build need not time it
again. The emulation has one tactic and times nothing: its cache records the layers that were built,
with the same life cycle, and a warm build is no faster.
"""

import json
from collections.abc import Iterable

from trtlab.backend.emulated.pybind import expect
from trtlab.backend.emulated.types import IHostMemory

_MAGIC = b"TRTLAB-EMULATED-TIMING-8600\n"
_TACTIC = "emulated"


class ITimingCache:
    """A set of layers, each by a digest of its kind, precision and shapes."""

    def __init__(self) -> None:
        self._tactics: dict[str, str] = {}

    def serialize(self) -> IHostMemory:
        """Return the cache as bytes, for IBuilderConfig.create_timing_cache."""
        return IHostMemory(_MAGIC + json.dumps(self._tactics, sort_keys=True).encode())

    def combine(self, input_cache: "ITimingCache", ignore_mismatch: bool) -> bool:
        """Add the entries of another cache."""
        self._tactics.update(expect(input_cache, ITimingCache, "input_cache")._tactics)
        return True

    def reset(self) -> bool:
        """Remove all entries."""
        self._tactics = {}
        return True

    def _record(self, keys: Iterable[str]) -> tuple[int, int]:
        """Add layers; return how many were known and how many are new."""
        wanted = set(keys)
        new = wanted - self._tactics.keys()
        self._tactics.update(dict.fromkeys(new, _TACTIC))
        return len(wanted) - len(new), len(new)


def deserialize(serialized: bytes) -> ITimingCache | None:
    """Return the cache that `serialize` wrote, an empty one for no bytes, None for other bytes."""
    cache = ITimingCache()
    if not serialized:
        return cache
    if not serialized.startswith(_MAGIC):
        return None
    try:
        tactics = json.loads(serialized[len(_MAGIC) :])
    except ValueError:
        return None
    cache._tactics = {str(key): str(tactic) for key, tactic in tactics.items()}
    return cache
