"""The limits of BuildSpec's workspace; the rest of it is tested with the builds."""

from pathlib import Path

import pytest

from refusals import build, is_empty, refused
from trtlab.backend import trt
from trtlab.errors import BuildError
from trtlab.logger import LOGGER
from trtlab.spec import BuildSpec

LARGEST = 2**44 - 1  # in MiB; in bytes it is the last that 64 bits hold


@pytest.mark.parametrize("mib", [LARGEST + 1, 10**23])
def test_a_workspace_of_more_bytes_than_64_bits_count_is_refused(mib: int) -> None:
    with pytest.raises(BuildError, match=rf"workspace_mib is {mib}, .* at most {LARGEST}"):
        BuildSpec(workspace_mib=mib)


def test_the_largest_workspace_is_one_that_the_builder_config_takes() -> None:
    size = BuildSpec(workspace_mib=LARGEST).workspace_mib << 20
    config = trt.Builder(LOGGER).create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)  # raises where it does not


def test_an_impossible_workspace_on_the_command_line_is_one_clear_line(
    small_onnx: Path, tmp_path: Path
) -> None:
    line = refused(*build(small_onnx, tmp_path / "x.engine", "--workspace-size", "9" * 23))
    assert f"at most {LARGEST}" in line
    assert is_empty(tmp_path)
