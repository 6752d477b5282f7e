"""A notebook reaches nobody: not this machine's servers, and nothing beyond."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from attacks.table import REACHES, Attack, perform, printed
from trtlab_grader.course import Course

_CALL_HOME = """\
import socket

targets = [
    (socket.AF_INET, ("127.0.0.1", {port})),
    (socket.AF_INET, ("192.0.2.1", 53)),
    (socket.AF_UNIX, "{abstract}".replace("@", chr(0))),
]
for family, address in targets:
    try:
        with socket.socket(family) as connection:
            connection.settimeout(2)
            connection.connect(address)
            connection.sendall(b"grades, please")
        print("REACHED" + " THE SERVER")
    except OSError as error:
        print("refused", error)
"""


@contextmanager
def listening(family: int, address: object) -> Iterator[tuple[socket.socket, list[object]]]:
    """Serve at an address; yield the socket, and who has connected."""
    callers: list[object] = []
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()

        def accept() -> None:
            while True:
                try:
                    connection, caller = server.accept()
                except OSError:
                    return
                callers.append(caller)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server, callers
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.usefixtures("needs_sandbox")
def test_a_notebook_reaches_no_server(classroom: Course) -> None:
    abstract = f"\0trtlab-attack-{id(classroom)}"
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as (server, by_tcp),
        listening(socket.AF_UNIX, abstract) as (_, by_name),
    ):
        code = _CALL_HOME.format(port=server.getsockname()[1], abstract=abstract.replace("\0", "@"))
        record = perform(
            classroom,
            Attack(
                name="calls home",
                row="network",
                lab="04-infer",
                unwritten=True,
                before=code,
                human=REACHES,
            ),
        )
        # The servers answer: what they did not hear, nobody said.
        socket.create_connection(server.getsockname()).close()
    assert len(by_tcp) == 1
    assert by_name == []
    text = printed(classroom, record)
    assert "REACHED THE SERVER" not in text
    assert "refused" in text
