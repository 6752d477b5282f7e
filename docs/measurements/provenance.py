"""Where a measurement was taken: the machine, the versions and the commit, for its JSON."""

import os
import subprocess
from pathlib import Path
from typing import Any

from trtlab.machine import machine_facts


def provenance() -> dict[str, Any]:
    """Return the facts of the machine, and the commit that is measured.

    A copied tree has no history, or another's: whoever copies it says of what in TRTLAB_COMMIT.
    """
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return {
        "machine": machine_facts().model_dump(mode="json"),
        "commit": os.environ.get("TRTLAB_COMMIT", found),
    }
