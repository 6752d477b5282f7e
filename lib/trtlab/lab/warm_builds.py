"""Lets every build of this process start from a timing cache that others have filled.

TensorRT finds the fastest kernels by timing them, for a minute or two; from a timing cache it reads
them. The grader calls this in the student's kernel before the notebook runs. The file is only read,
so that no notebook can change the kernels of the next one.
"""

from pathlib import Path
from typing import Any

from trtlab.backend import trt


def build_from(path: Path) -> None:
    """Give the timing cache at `path` to each build whose config has none of its own."""
    content = path.read_bytes()
    original = trt.Builder.build_serialized_network

    def build_serialized_network(builder: Any, network: Any, config: Any) -> Any:
        if config.get_timing_cache() is None:
            # A cache of another GPU or version is refused, which costs time and nothing else.
            config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False)
        return original(builder, network, config)

    trt.Builder.build_serialized_network = build_serialized_network
