"""How cost grows: with the batch, the slots, the execution contexts, the width of the profile.

Each part is a curve. One that fails leaves its error in its place, since the others took minutes.
"""

import traceback
from collections.abc import Callable
from typing import Any

from speed.growth_batch import by_batch
from speed.growth_parallel import by_contexts, by_slots
from speed.growth_profile import by_profile
from speed.rig import Rig
from trtlab.errors import TrtLabError

# Those that build no engine of their own come first.
PARTS: dict[str, Callable[[Rig], dict[str, Any]]] = {
    "slots": by_slots,
    "contexts": by_contexts,
    "profile": by_profile,
    "batch": by_batch,
}


def measure(rig: Rig) -> dict[str, Any]:
    """Return the curve of each part."""
    return {name: _attempt(part, rig) for name, part in PARTS.items()}


def _attempt(part: Callable[[Rig], dict[str, Any]], rig: Rig) -> dict[str, Any]:
    try:
        return part(rig)
    except (TrtLabError, RuntimeError) as error:  # PyTorch's, of a capture or of memory
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
