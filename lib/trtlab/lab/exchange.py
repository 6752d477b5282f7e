"""Files that pass between a student's kernel and whoever judges: JSON and arrays, nothing else.

What is read here may have been written by hostile code. So nothing is unpickled, links are not
followed, sizes are bounded, and whatever is off raises one kind of error.
"""

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from trtlab.errors import TrtLabError

MAX_JSON_BYTES = 4 << 20
MAX_ARRAY_BYTES = 256 << 20

M = TypeVar("M", bound=BaseModel)


class ExchangeError(TrtLabError):
    """A file that a kernel should have written is missing, too large, or not what it should be."""


def write_model(path: Path, model: BaseModel) -> None:
    """Write a pydantic model as JSON."""
    path.write_text(model.model_dump_json(round_trip=True), encoding="utf-8")


def read_model(path: Path, kind: type[M], max_bytes: int = MAX_JSON_BYTES) -> M:
    """Read what `write_model` wrote.

    Raises:
        ExchangeError: if there is no such regular file, it is larger than `max_bytes`, or it is not
            JSON of that kind.
    """
    try:
        return kind.model_validate_json(read_bytes(path, max_bytes))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        text = f"{path.name} is not {kind.__name__}: {where}: {first['msg']}"
        raise ExchangeError(text) from None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy; object arrays are refused."""
    with path.open("wb") as file:
        np.save(file, np.asarray(array), allow_pickle=False)


def read_array(path: Path, max_bytes: int = MAX_ARRAY_BYTES) -> NDArray[Any]:
    """Read what `write_array` wrote.

    Raises:
        ExchangeError: if there is no such regular file, it is larger than `max_bytes`, or it holds
            anything but plain numbers.
    """
    data = read_bytes(path, max_bytes)
    try:
        array = np.load(BytesIO(data), allow_pickle=False)
    except Exception as error:  # a made-up header can raise nearly anything
        raise ExchangeError(f"{path.name} is not an array of numbers: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ExchangeError(f"{path.name} is not an array of numbers")
    return array


def read_float32(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Read an array of which dtype and shape are known.

    Raises:
        ExchangeError: as `read_array`, and if it is not float32 of that shape.
    """
    array = read_array(path)
    if array.dtype != np.float32 or array.shape != shape:
        raise ExchangeError(
            f"{path.name} is {array.dtype} {array.shape}, and should be float32 {shape}"
        )
    return array


def is_regular(path: Path) -> bool:
    """Whether there is a regular file at a path: not a folder, a pipe, or a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a regular file that is no link and not too large.

    Raises:
        ExchangeError: otherwise.
    """
    try:
        # O_NONBLOCK: opening a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ExchangeError(f"{path.name} cannot be read: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)  # before `open`, which raises for a folder
        raise ExchangeError(f"{path.name} is not a regular file")
    with open(descriptor, "rb") as file:
        if status.st_size > max_bytes:
            raise ExchangeError(
                f"{path.name} has {status.st_size:,} bytes, and may have {max_bytes:,}"
            )
        return file.read(max_bytes)
