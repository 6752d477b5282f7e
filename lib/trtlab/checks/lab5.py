"""Checks of lab 5: the measuring functions, and the accuracy of the engines."""

from trtlab.checks import accuracy5, timing5

__all__ = ["accuracy5", "timing5"]
