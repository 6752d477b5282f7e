"""A helper that speaks JSON lines from inside the sandbox, and others that do not."""

import json
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trtlab_grader.sandbox import Bubblewrap, Conversation, Job, Limits, SandboxError, Unconfined

ECHO = """
    import json, sys
    for line in sys.stdin:
        print(json.dumps({"got": json.loads(line)}), flush=True)
"""


@contextmanager
def talking(
    bubblewrap: Bubblewrap, work: Path, code: str, limits: Limits | None = None
) -> Iterator[Conversation]:
    command = [sys.executable, "-I", "-c", textwrap.dedent(code)]
    job = Job(command, work, limits=limits or Limits())
    with bubblewrap.start(job, talk=True) as process:
        yield Conversation(process)


def test_every_request_gets_its_answer(bubblewrap: Bubblewrap, work: Path) -> None:
    with talking(bubblewrap, work, ECHO) as conversation:
        for size in (0, 1, 1000, 300_000):
            request = {"text": "é" * size}
            assert conversation.ask(request, timeout_s=60) == {"got": request}


def test_time_between_two_requests_is_not_the_job_s(bubblewrap: Bubblewrap, work: Path) -> None:
    with talking(bubblewrap, work, ECHO, Limits(wall_s=4)) as conversation:
        conversation.ask({"a": 1}, timeout_s=60)
        time.sleep(5)
        assert conversation.ask({"a": 2}, timeout_s=60) == {"got": {"a": 2}}


def test_a_greeting_can_be_waited_for(bubblewrap: Bubblewrap, work: Path) -> None:
    with talking(bubblewrap, work, 'print(\'{"value": "ready"}\')') as conversation:
        assert conversation.listen(timeout_s=60) == {"value": "ready"}


def test_noise_on_stderr_is_kept_apart(bubblewrap: Bubblewrap, work: Path) -> None:
    code = "    import sys; sys.stderr.write('noise\\n' * 100_000); sys.stderr.flush()" + ECHO
    with talking(bubblewrap, work, code) as conversation:
        assert conversation.ask({"a": 1}, timeout_s=60) == {"got": {"a": 1}}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(7)", "exit status 7"),
        ("raise ValueError('the cause')", "the cause"),
        ("while True: print('x' * 1_000_000, end='')", "output: sent more than 20,000,000 bytes"),
        ("print('[' * 100_000)", "did not answer in JSON"),
        ("print('[1]')", "did not answer in JSON"),
        ("print('hello')", "did not answer in JSON"),
        ("import sys; sys.stdout.buffer.write(bytes([255, 254, 10]))", "did not answer in JSON"),
        ("print('1' * 10_000)", "did not answer in JSON"),
    ],
)
def test_whatever_else_comes_is_an_error_with_its_reason(
    bubblewrap: Bubblewrap, work: Path, code: str, message: str
) -> None:
    limits = Limits(output_bytes=20_000_000)
    with (
        talking(bubblewrap, work, code, limits) as conversation,
        pytest.raises(SandboxError, match=message),
    ):
        conversation.ask({"do": "something"}, timeout_s=60)


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(600)",
        "import sys, time; sys.stdin.close(); time.sleep(600)",
        # bwrap keeps the pipe open for it.
        "import os, time; os.close(1); time.sleep(600)",
    ],
)
def test_a_job_that_never_answers_is_killed(bubblewrap: Bubblewrap, work: Path, code: str) -> None:
    with (
        talking(bubblewrap, work, code) as conversation,
        pytest.raises(SandboxError, match="wall time: did not answer in time"),
    ):
        conversation.ask({"do": "something"}, timeout_s=1)


def test_a_job_that_closes_its_stdout_is_killed(work: Path) -> None:
    code = "import os, time; os.close(1); time.sleep(600)"
    job = Job([sys.executable, "-I", "-c", code], work)
    with (
        Unconfined().start(job, talk=True) as process,
        pytest.raises(SandboxError, match="closed its stdin or stdout"),
    ):
        Conversation(process).ask({"do": "something"}, timeout_s=60)


def test_a_job_that_does_not_read_cannot_block_the_grader(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    with (
        talking(bubblewrap, work, "import time; time.sleep(600)") as conversation,
        pytest.raises(SandboxError, match="did not answer in time"),
    ):
        conversation.ask({"text": "x" * 10_000_000}, timeout_s=1)


def test_a_limit_that_is_broken_meanwhile_is_named(bubblewrap: Bubblewrap, work: Path) -> None:
    code = "blocks = [bytearray(b'x') * (16 << 20) for _ in range(1000)]"
    limits = Limits(memory_bytes=200 << 20)
    with (
        talking(bubblewrap, work, code, limits) as conversation,
        pytest.raises(SandboxError, match="memory: "),
    ):
        conversation.ask({"do": "something"}, timeout_s=60)


def test_what_is_said_can_be_read_back_as_json(bubblewrap: Bubblewrap, work: Path) -> None:
    code = "import json, sys; print(json.dumps({'line': sys.stdin.readline()}))"
    with talking(bubblewrap, work, code) as conversation:
        answer = conversation.ask({"text": "a\nb"}, timeout_s=60)
    assert json.loads(answer["line"]) == {"text": "a\nb"}
