"""Manners that every class of TensorRT's Python binding has, because pybind11 made it.

Conversions of arguments are as strict as there: what the binding refuses with a TypeError is
refused here, so that a notebook that runs on the emulation also runs on a GPU.
"""

from typing import Any, TypeVar

T = TypeVar("T")


class PybindMeta(type):
    """Refuses a subclass whose __init__ forgot to call its base class's, as pybind11 does.

    The __init__ of the outermost base sets `_constructed`.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Construct, then check that the base class was constructed too."""
        instance = super().__call__(*args, **kwargs)
        if not instance.__dict__.get("_constructed", False):
            base = next(c for c in cls.__mro__ if c.__module__.startswith("trtlab.backend"))
            raise TypeError(
                f"tensorrt.{base.__name__}.__init__() must be called when overriding __init__"
            )
        return instance


class Managed:
    """`with` on TensorRT objects: kept for old code, without effect since 8.0."""

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the object alive: Python's reference counting destroys it."""


def expect(value: Any, kind: type[T], what: str) -> T:
    """Return `value` if it is a `kind`, else raise the TypeError that the binding raises."""
    if not isinstance(value, kind):
        name = kind.__name__ if kind.__module__ == "builtins" else f"trt.{kind.__name__}"
        raise TypeError(f"Incompatible function arguments: {what} is a {name}, not {value!r}.")
    return value


def address(value: Any, what: str) -> int:
    """Convert a device pointer or stream handle to int as the binding converts to size_t.

    Raises:
        TypeError: for floats, negative numbers and what has no integer value.
    """
    if isinstance(value, float) or not (hasattr(value, "__index__") or hasattr(value, "__int__")):
        raise TypeError(f"Incompatible function arguments: {what} is an integer, not {value!r}.")
    number = int(value)
    if number < 0:
        raise TypeError(f"Incompatible function arguments: {what} is negative: {number}.")
    return number


def buffer(value: Any, what: str) -> bytes:
    """Return the bytes of a buffer argument.

    Raises:
        TypeError: if it has no buffer; a str, such as a path, has none.
    """
    try:
        return bytes(memoryview(value).cast("B"))
    except TypeError:
        raise TypeError(
            f"Incompatible function arguments: {what} is a buffer such as bytes, "
            f"not {type(value).__name__}. Read the file first: open(path, 'rb').read()."
        ) from None
