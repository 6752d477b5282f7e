"""A cell's outputs, made of the messages that a kernel sends, which may be anything at all.

They become what Jupyter would have stored, within bounds, and of types that people can look at:
text, HTML, PNG, JPEG and SVG. What does not fit the protocol is left out.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

_TEXT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex")
_BINARY_IMAGES = ("image/png", "image/jpeg")
_VECTOR_IMAGE = "image/svg+xml"


@dataclass(frozen=True)
class OutputLimits:
    """What is kept of a notebook's outputs.

    Attributes:
        text_characters: of one cell, all its outputs together.
        outputs: of one cell.
        image_bytes: of all images of a notebook, as stored.
    """

    text_characters: int = 100_000
    outputs: int = 200
    image_bytes: int = 5_000_000


class ImageBudget:
    """What is left of `OutputLimits.image_bytes`."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Use some of it; return False, and use none, if that is more than is left."""
        if size > self._left:
            return False
        self._left -= size
        return True


class OutputCollector:
    """Makes the outputs of one cell.

    Attributes:
        outputs: as they stand in a notebook.
    """

    def __init__(self, limits: OutputLimits, images: ImageBudget) -> None:
        self.outputs: list[NotebookNode] = []
        self._limits = limits
        self._images = images
        self._text_left = limits.text_characters
        self._was_cut = False
        self._clear_first = False
        self._displays: dict[str, list[NotebookNode]] = {}
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "stream": self._stream,
            "display_data": self._display,
            "execute_result": self._result,
            "update_display_data": self._update,
            "error": self._error,
            "clear_output": self._clear,
        }

    def add(self, kind: object, content: object) -> None:
        """Take in one message of the iopub channel; kinds that are no outputs are ignored."""
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is None or not isinstance(content, dict):
            return
        if self._clear_first and kind not in ("clear_output", "update_display_data"):
            self._reset()
        handler(content)

    def note_loss(self) -> None:
        """Say in the outputs that something was too large to be kept."""
        if not self._was_cut:
            self._was_cut = True
            self._append(
                new_output("stream", name="stdout", text="[The grader cut this output.]\n")
            )

    def _stream(self, content: dict[str, Any]) -> None:
        name, text = content.get("name"), content.get("text")
        if name not in ("stdout", "stderr") or not isinstance(text, str):
            return
        text = self._within_limit(text)
        last = self.outputs[-1] if self.outputs else None
        if last is not None and last.output_type == "stream" and last.name == name:
            last.text += text
        elif text:
            self._append(new_output("stream", name=name, text=text))
        if self._text_left == 0:
            self.note_loss()

    def _result(self, content: dict[str, Any]) -> None:
        data = self._bundle(content.get("data"))
        if data:
            count = execution_count(content)
            self._append(new_output("execute_result", data=data, execution_count=count))

    def _display(self, content: dict[str, Any]) -> None:
        data = self._bundle(content.get("data"))
        if not data:
            return
        output = new_output("display_data", data=data)
        self._append(output)
        display = _display_id(content)
        if display is not None:
            self._displays.setdefault(display, []).append(output)

    def _update(self, content: dict[str, Any]) -> None:
        shown = self._displays.get(_display_id(content) or "", [])
        data = self._bundle(content.get("data")) if shown else {}
        for output in shown if data else []:
            output.data = data

    def _error(self, content: dict[str, Any]) -> None:
        lines = content.get("traceback")
        texts = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
        self._append(
            new_output(
                "error",
                ename=self._within_limit(str(content.get("ename", ""))[:200]),
                evalue=self._within_limit(str(content.get("evalue", ""))[:2000]),
                traceback=self._within_limit("\n".join(texts)).split("\n"),
            )
        )

    def _clear(self, content: dict[str, Any]) -> None:
        if content.get("wait"):
            self._clear_first = True
        else:
            self._reset()

    def _reset(self) -> None:
        self.outputs.clear()
        self._displays.clear()
        self._text_left = self._limits.text_characters
        self._was_cut = self._clear_first = False

    def _append(self, output: NotebookNode) -> None:
        if len(self.outputs) < self._limits.outputs:
            self.outputs.append(output)

    def _bundle(self, data: object) -> dict[str, str]:
        kept: dict[str, str] = {}
        if not isinstance(data, dict):
            return kept
        for kind, value in data.items():
            if not isinstance(value, str):
                continue
            if kind in _TEXT_TYPES and len(value) <= self._text_left:
                kept[kind] = self._within_limit(value)
            elif kind == _VECTOR_IMAGE and self._images.take(len(value)):
                kept[kind] = _storable(value)
            elif kind in _BINARY_IMAGES and self._images.take(len(value)):
                kept[kind] = _base64(value)
            elif kind in (*_TEXT_TYPES, _VECTOR_IMAGE, *_BINARY_IMAGES):
                self.note_loss()
        return {kind: value for kind, value in kept.items() if value}

    def _within_limit(self, text: str) -> str:
        text = _storable(text[: self._text_left])
        self._text_left -= len(text)
        return text


def execution_count(content: dict[str, Any]) -> int | None:
    """Return the number in In [n] from a message's content, if it has a sane one."""
    count = content.get("execution_count")
    return count if type(count) is int and 0 <= count < 1_000_000 else None


def _display_id(content: dict[str, Any]) -> str | None:
    transient = content.get("transient")
    display = transient.get("display_id") if isinstance(transient, dict) else None
    return display if isinstance(display, str) else None


def _storable(text: str) -> str:
    """Return text without lone surrogates: JSON can carry them, a file in UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _base64(text: str) -> str:
    """Return an image's bytes again as base64, or nothing: templates put it into HTML as it is."""
    try:
        return base64.b64encode(base64.b64decode("".join(text.split()), validate=True)).decode()
    except (ValueError, binascii.Error):
        return ""
