"""The Jupyter protocol over the relay: sends requests, and receives whatever the other side sends.

jupyter_client's own clients, and nbclient on top of them, raise on a message that is malformed and
read one of any size, which suits a kernel that one trusts. Of jupyter_client, this uses the
Session, which makes, signs and parses messages.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import zmq
from jupyter_client.session import Session

Channel = Literal["shell", "iopub", "control"]

PORTS: dict[str, int] = {"shell": 1, "iopub": 2, "stdin": 3, "control": 4, "hb": 5}
CHANNELS: tuple[Channel, ...] = ("shell", "iopub", "control")
_KINDS = {"shell": zmq.DEALER, "iopub": zmq.SUB, "control": zmq.DEALER}
_MAX_MESSAGE_BYTES = 16 << 20
_MAX_PARTS = 64
_QUEUED_MESSAGES = 64
# So that a flood on one channel cannot keep the caller from looking at its clock.
_MESSAGES_A_TURN = 32


def socket_name(channel: str) -> str:
    """Return the file name of a channel's socket, for the address `PREFIX` in the same folder."""
    return f"{PREFIX}-{PORTS[channel]}"


PREFIX = "k"


class TooLarge:
    """Stands for a message that was thrown away unread."""


class Wire:
    """Connections to the channels of one kernel.

    Args:
        folder: where the sockets are.
        key: signs the messages.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._session = Session(key=key.encode(), username="grader")
        self._context = zmq.Context()
        self._sockets: dict[Channel, zmq.Socket[bytes]] = {}
        self._poller = zmq.Poller()
        for channel in CHANNELS:
            end = self._context.socket(_KINDS[channel])
            end.setsockopt(zmq.LINGER, 0)
            end.setsockopt(zmq.RCVHWM, _QUEUED_MESSAGES)
            end.setsockopt(zmq.SNDTIMEO, 1000)
            end.setsockopt(zmq.RECONNECT_IVL, -1)
            if channel == "iopub":
                end.setsockopt(zmq.SUBSCRIBE, b"")
            end.connect(f"ipc://{folder / socket_name(channel)}")
            self._sockets[channel] = end
            self._poller.register(end, zmq.POLLIN)

    def send(self, channel: Channel, kind: str, content: dict[str, Any]) -> str:
        """Send a request and return its id; it is dropped if the kernel does not take it."""
        message = self._session.msg(kind, content)
        with suppress(zmq.ZMQError):
            self._session.send(self._sockets[channel], message)
        return str(message["header"]["msg_id"])

    def receive(self, timeout_s: float) -> Iterator[tuple[Channel, dict[str, Any] | TooLarge]]:
        """Yield what has come by the channels, waiting for at most `timeout_s` if nothing has.

        Each message is a dictionary with the keys of the protocol, of which only `header`,
        `parent_header` and `content` are sure to be there, and to be dictionaries.
        """
        ready = dict(self._poller.poll(int(timeout_s * 1000)))
        for channel, end in self._sockets.items():
            for _ in range(_MESSAGES_A_TURN if end in ready else 0):
                try:
                    parts = end.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.ZMQError:
                    break
                message = self._parse(parts)
                if message is not None:
                    yield channel, message

    def close(self) -> None:
        """Close all sockets."""
        for end in self._sockets.values():
            end.close(0)
        self._context.term()

    def _parse(self, parts: list[zmq.Frame]) -> dict[str, Any] | TooLarge | None:
        if len(parts) > _MAX_PARTS or sum(map(len, parts)) > _MAX_MESSAGE_BYTES:
            return TooLarge()
        try:
            _, rest = self._session.feed_identities([part.bytes for part in parts])
            message = self._session.deserialize(rest)
            sections = [message[name] for name in ("header", "parent_header", "content")]
        except Exception:  # parsing fails in as many ways as there are malformed messages
            return None
        return message if all(isinstance(section, dict) for section in sections) else None
