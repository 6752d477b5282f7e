"""Notebooks in a kernel in the sandbox: honest ones run as in Jupyter, others do no harm."""

import re
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from trtlab_grader.kernel import (
    CellResult,
    KernelError,
    OutputLimits,
    SandboxedKernel,
    execute_notebook,
)
from trtlab_grader.kernel import kernel as kernel_module
from trtlab_grader.kernel.wire import Channel, Wire
from trtlab_grader.sandbox import Bubblewrap, Limits, Unconfined

from .conftest import processes_with

MIB = 1 << 20


@pytest.fixture(scope="module")
def kernel(
    bubblewrap: Bubblewrap, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxedKernel]:
    """One kernel for all the tests after which it must still be alive."""
    with SandboxedKernel(bubblewrap, tmp_path_factory.mktemp("work")) as shared:
        yield shared


@pytest.fixture
def alive(kernel: SandboxedKernel) -> Iterator[SandboxedKernel]:
    yield kernel
    assert text_of(kernel.run("print('still', 'here')", 30)) == "still here\n"


def text_of(result: CellResult) -> str:
    return "".join(output.text for output in result.outputs if output.output_type == "stream")


def notebook(*sources: str) -> NotebookNode:
    return new_notebook(cells=[new_code_cell(textwrap.dedent(source)) for source in sources])


HONEST = (
    "import sys, warnings\nx = 21",
    "print('a'); print('b', end='')\n2 * x",
    "sys.stderr.write('careful\\n');",
    "from IPython.display import HTML, Markdown, clear_output, display\n"
    "display(HTML('<b>bold</b>'), Markdown('*text*'))",
    "print('old'); clear_output(); print('new')",
    "print('old'); clear_output(wait=True); print('new')",
    "shown = display(HTML('1'), display_id=True); shown.update(HTML('2'))",
    "x; None",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()",
    "print('unicode: é 漢 😀'); 'text'",
)


def comparable(nb: NotebookNode) -> list[object]:
    """Return the outputs without metadata, which the sandboxed kernel does not keep."""
    kept = []
    for cell in nb.cells:
        outputs = [dict(output) for output in cell.outputs]
        for output in outputs:
            output.pop("metadata", None)
        kept.append((cell.execution_count, outputs))
    return kept


def test_an_honest_notebook_gets_the_outputs_that_nbclient_gives_it(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    ours, theirs = notebook(*HONEST), notebook(*HONEST)
    NotebookClient(theirs, timeout=120).execute()
    with SandboxedKernel(bubblewrap, work) as kernel:
        run = execute_notebook(ours, kernel, per_cell_timeout_s=120, total_timeout_s=300)
    assert [result.status for result in run.cells.values()] == ["ok"] * len(HONEST)
    assert comparable(ours) == comparable(theirs)
    nbformat.validate(ours)


def test_a_notebook_goes_on_after_errors_and_skips_what_it_should(
    alive: SandboxedKernel,
) -> None:
    nb = notebook("y = 1", "1 / 0", "raise SystemExit", "y += 1\ny", "y = 'wrong'", "  ")
    nb.cells.insert(1, new_markdown_cell("text"))
    nb.cells[5].metadata["skip"] = True
    nb.cells[5].outputs = [nbformat.v4.new_output("stream", text="stale")]
    progress: list[tuple[int, int]] = []
    run = execute_notebook(
        nb,
        alive,
        per_cell_timeout_s=60,
        total_timeout_s=300,
        skip=lambda cell: "skip" in cell.metadata,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    statuses = {index: result.status for index, result in run.cells.items()}
    assert statuses == {0: "ok", 2: "error", 3: "error", 4: "ok"}
    assert nb.cells[2].outputs[0].ename == "ZeroDivisionError"
    assert nb.cells[3].outputs[0].ename == "SystemExit"
    assert nb.cells[4].outputs[0].data == {"text/plain": "2"}
    assert nb.cells[5].outputs == []
    assert (run.stopped_at, run.reason) == (None, "")
    assert progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_lease_is_held_for_a_cell_at_a_time_and_waiting_for_it_costs_no_time(
    alive: SandboxedKernel,
) -> None:
    steps: list[str] = []

    @contextmanager
    def lease() -> Iterator[None]:
        time.sleep(1)
        steps.append("held")
        yield
        steps.append("free")

    nb = notebook("1", "2", "3")
    run = execute_notebook(nb, alive, per_cell_timeout_s=60, total_timeout_s=2.5, hold=lease)
    assert steps == ["held", "free"] * 3
    assert run.stopped_at is None


def test_what_the_grader_waits_for_does_not_count_as_the_kernel_s_time(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    with SandboxedKernel(bubblewrap, work, limits=Limits(wall_s=12)) as kernel:
        kernel.run("import time", 60)
        time.sleep(13)  # for a lease of the GPU, say
        assert kernel.run("print(1)", 60).status == "ok"
        result = kernel.run("time.sleep(60)", 60)
    assert result.reason == "the kernel ended (wall time: ran longer than 12 s in all)"
    assert result.seconds < 12


def test_a_cell_is_interrupted_at_its_timeout_and_the_next_one_runs(
    alive: SandboxedKernel,
) -> None:
    result = alive.run("import time\nprint('begun')\ntime.sleep(600)", 1)
    assert (result.status, result.reason) == ("timeout", "ran longer than 1 s")
    assert text_of(result) == "begun\n"
    assert result.outputs[-1].ename == "KeyboardInterrupt"


def test_a_hundred_megabytes_of_prints_are_cut(alive: SandboxedKernel) -> None:
    before = psutil.Process().memory_info().rss
    for source in ("print('x' * 100_000_000)", "for _ in range(1000): print('x' * 100_000)"):
        result = alive.run(source, 120)
        assert result.status == "ok"
        assert text_of(result).endswith("[The grader cut this output.]\n")
        assert len(text_of(result)) < 110_000
    assert psutil.Process().memory_info().rss - before < 250 * MIB


def test_outputs_without_number_are_cut(alive: SandboxedKernel) -> None:
    result = alive.run("from IPython.display import HTML\nfor i in range(2000): display(i)", 60)
    assert result.status == "ok"
    assert len(result.outputs) == OutputLimits().outputs


def test_closing_stdout_and_stderr_does_no_harm(alive: SandboxedKernel) -> None:
    assert alive.run("import os; os.close(1); os.close(2)", 30).status == "ok"
    assert alive.run("import sys; sys.__stdout__.close()", 30).kernel_alive


def test_input_is_refused(alive: SandboxedKernel) -> None:
    result = alive.run("input('name? ')", 30)
    assert (result.status, result.outputs[-1].ename) == ("error", "StdinNotImplementedError")


@pytest.mark.parametrize(
    "attack",
    [
        "send([b'garbage'])",
        "send([b'x'] * 1000)",
        "send([b''] * 100 + [b'<IDS|MSG>'] + [b''] * 100)",
        "send([b'<IDS|MSG>', b'not a signature', b'{}', b'{}', b'{}', b'{}'])",
        "signed(b'not json', b'{}', b'{}', b'{}')",
        "signed(b'{}', b'{}', b'{}', b'{}')",
        "signed(b'[]', b'[]', b'[]', b'[]')",
        "signed(b'[' * 100_000, b'{}', b'{}', b'{}')",
        "signed(header('stream'), parent, b'{}', b'[]')",
        "signed(header('stream'), parent, b'{}', b'{\"name\": [], \"text\": {}}')",
        "signed(header('display_data'), parent, b'{}', b'{\"data\": {\"text/html\": 1}}')",
        "signed(header('display_data'), parent, b'{}', b'{\"data\": 1, \"transient\": 1}')",
        "signed(header('update_display_data'), parent, b'{}', b'{\"transient\": []}')",
        "signed(header('execute_result'), parent, b'{}', b'{\"execution_count\": 1e999}')",
        "signed(header('error'), parent, b'{}', b'{\"traceback\": 5, \"ename\": []}')",
        "signed(header('error'), parent, b'{}', b'{\"traceback\": [5, \"\\\\ud800\"]}')",
        'signed(header(\'stream\'), parent, b\'{}\', b\'{"name":"stdout","text":"\\\\udfff"}\')',
        "signed(header('status'), parent, b'{}', b'{\"execution_state\": {}}')",
        "signed(header('status'), b'{\"msg_id\": {}}', b'{}', b'{\"execution_state\": 1}')",
        "signed(header('comm_open'), parent, b'{}', b'{\"comm_id\": 1, \"target_name\": []}')",
        "signed(header('input_request'), parent, b'{}', b'{\"prompt\": \"?\"}')",
        "signed(header(['stream']), parent, b'{}', b'{}')",
        "send([b'x' * (40 << 20)])",
        "display({'image/png': 'x' * 30_000_000}, raw=True)",
        "display({'image/png': '\"><script>alert(1)</script>'}, raw=True)",
        "display({'text/plain': 'x', 'application/json': {'a': float('nan')}}, raw=True)",
    ],
)
def test_a_hostile_message_neither_breaks_the_grader_nor_gets_into_the_notebook(
    alive: SandboxedKernel, attack: str
) -> None:
    source = f"""
import json
from IPython.display import display
kernel = get_ipython().kernel
session = kernel.session
parent = json.dumps({{"msg_id": kernel.get_parent()["header"]["msg_id"]}}).encode()
def header(kind):
    return json.dumps({{"msg_id": "1", "msg_type": kind, "version": "5.3"}}).encode()
def send(parts):
    get_ipython().kernel.iopub_socket.send_multipart(parts)
def signed(*parts):
    send([b"topic", b"<IDS|MSG>", session.sign(list(parts)), *parts])
{attack}
print("sent")
"""
    result = alive.run(source, 60)
    assert result.status == "ok", result
    assert "sent" in text_of(result)
    nb = new_notebook(cells=[new_code_cell(source, outputs=result.outputs)])
    nbformat.validate(nb)
    written = nbformat.writes(nb).encode()
    assert len(written) < 300_000
    assert b"<script>" not in b"".join(
        str(output.get("data", {})).encode() for output in result.outputs
    )


def test_images_are_kept_up_to_a_size_for_the_whole_notebook(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    show = "display({'image/png': 'AAAA' * 250_000}, raw=True)"
    nb = notebook(*["from IPython.display import display\n" + show] * 3)
    limits = OutputLimits(image_bytes=2_500_000)
    with SandboxedKernel(bubblewrap, work, outputs=limits) as kernel:
        execute_notebook(nb, kernel, 60, 300)
    assert ["data" in cell.outputs[0] for cell in nb.cells] == [True, True, False]
    assert nb.cells[2].outputs[0].text == "[The grader cut this output.]\n"


@pytest.mark.parametrize(
    ("source", "limits", "reason"),
    [
        ("import os; os._exit(5)", {}, "the kernel ended (exit status 5)"),
        ("import os; os.kill(os.getpid(), 9)", {}, "the kernel ended (exit status 137)"),
        ("x = [bytearray(b'x') * (16 << 20) for _ in range(1000)]", {}, "(memory: "),
        (
            "while True:\n    open('file', 'ab').write(bytes(1 << 20))",
            {"disk_bytes": 100 * MIB},
            "(disk: ",
        ),
        (
            "while True:\n    get_ipython().kernel.iopub_socket.send(bytes(1 << 20))",
            {"output_bytes": 30 * MIB},
            "(output: the kernel sent more than",
        ),
    ],
    ids=["os._exit", "killed", "memory", "disk", "flood"],
)
def test_when_the_kernel_dies_the_run_ends_there_and_says_why(
    bubblewrap: Bubblewrap, work: Path, source: str, limits: dict[str, int], reason: str
) -> None:
    nb = notebook("x = 1", source, "print('not reached')")
    wanted = Limits(**{"memory_bytes": 500 * MIB, **limits})
    with SandboxedKernel(bubblewrap, work, limits=wanted) as kernel:
        run = execute_notebook(nb, kernel, 120, 300)
        assert not kernel.alive
        again = kernel.run("1", 10)
    assert run.stopped_at == 1
    assert reason in run.reason
    assert [result.status for result in run.cells.values()] == ["ok", "died"]
    assert (again.status, again.outputs) == ("died", [])


def test_a_cell_that_does_not_yield_to_an_interrupt_is_killed(
    bubblewrap: Bubblewrap, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_module, "_GRACE_SECONDS", 1.0)
    stubborn = """
        import time
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                print("never")
    """
    nb = notebook("x = 1", stubborn)
    with SandboxedKernel(bubblewrap, work) as kernel:
        run = execute_notebook(nb, kernel, 1.5, 300)
    assert run.cells[1].status == "timeout"
    assert run.stopped_at == 1
    assert run.reason == (
        "ran longer than 1.5 s, and the kernel ended (wall time: a cell went on after an interrupt)"
    )


def test_the_notebook_ends_at_its_time_in_all(bubblewrap: Bubblewrap, work: Path) -> None:
    nb = notebook(*["import time; time.sleep(0.5)"] * 6)
    with SandboxedKernel(bubblewrap, work) as kernel:
        run = execute_notebook(nb, kernel, 60, 1.2)
    assert run.stopped_at is not None
    assert run.stopped_at < 6
    assert run.reason == "the notebook ran longer than 1.2 s in all"


def test_a_kernel_that_dies_between_two_cells_is_told_of_the_second(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    later = "import os, threading; threading.Timer(1, os._exit, [4]).start()"
    nb = notebook(later, "import time; time.sleep(60)", "print('not reached')")
    with SandboxedKernel(bubblewrap, work) as kernel:
        run = execute_notebook(nb, kernel, 60, 300)
    assert (run.stopped_at, run.reason) == (1, "the kernel ended (exit status 4)")
    assert nb.cells[2].outputs == []


def test_a_fork_bomb_does_not_take_the_grader_along(
    bubblewrap: Bubblewrap, work: Path, marker: str
) -> None:
    # It stays there for so long that the watchdog looks.
    source = f"""
import subprocess, sys, time
command = [sys.executable, "-c", "import time; time.sleep(600)", "{marker}"]
try:
    while True:
        subprocess.Popen(command)
except OSError as error:
    print(error.strerror)
    time.sleep(1)
"""
    with SandboxedKernel(bubblewrap, work, limits=Limits(processes=60)) as kernel:
        result = kernel.run(source, 60)
        assert result.status == "died"
        assert re.search(r"\(processes: 6\d processes and threads, limit 60\)", result.reason)
    assert processes_with(marker) == []


def test_a_kernel_that_never_answers_is_an_error(
    bubblewrap: Bubblewrap, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_module, "_START_SECONDS", 2.0)
    (work / "ipykernel_launcher.py").write_text("import time; time.sleep(600)")
    with pytest.raises(KernelError, match="it does not answer"), SandboxedKernel(bubblewrap, work):
        pass


def test_a_kernel_that_is_slow_to_start_is_asked_one_thing_at_a_time(
    bubblewrap: Bubblewrap, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ipykernel 7.0 to 7.3 may never read what comes while it answers something else."""
    (work / "ipykernel_launcher.py").write_text(
        "import time; time.sleep(4)\n"
        "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
    )
    log: list[str] = []
    send, receive = Wire.send, Wire.receive

    def noted_send(self: Wire, channel: Channel, kind: str, content: dict[str, Any]) -> str:
        log.append(kind)
        return send(self, channel, kind, content)

    def noted_receive(self: Wire, timeout_s: float) -> Iterator[tuple[Channel, Any]]:
        for channel, message in receive(self, timeout_s):
            if channel == "shell":
                log.append(message["header"]["msg_type"])
            yield channel, message

    monkeypatch.setattr(Wire, "send", noted_send)
    monkeypatch.setattr(Wire, "receive", noted_receive)
    with SandboxedKernel(bubblewrap, work) as kernel:
        assert kernel.run("1 + 1", 60).status == "ok"
    assert log[-2:] == ["execute_request", "execute_reply"]
    assert log[:-2] == ["kernel_info_request", "kernel_info_reply"] * (len(log) // 2 - 1)


def test_a_kernel_that_does_not_start_is_an_error_with_its_last_words(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    (work / "ipykernel_launcher.py").write_text("raise ValueError('of the student')")
    with (
        pytest.raises(KernelError, match=r"(?s)exit status 1.*of the student"),
        SandboxedKernel(bubblewrap, work),
    ):
        pass


def test_the_kernel_is_confined_and_leaves_nothing_behind(
    bubblewrap: Bubblewrap, work: Path
) -> None:
    source = """
        import os, pathlib, ipykernel
        print(os.environ["TRTLAB_CACHE"], pathlib.Path.home(), os.path.exists("/etc/shadow"))
        print(ipykernel.get_connection_file())
    """
    with SandboxedKernel(bubblewrap, work, environment={"TRTLAB_CACHE": "/c"}) as kernel:
        confined, connection = text_of(kernel.run(textwrap.dedent(source), 30)).splitlines()
        assert Path(connection).exists()
    assert confined == "/c /tmp/home False"
    assert not Path(connection).parents[1].exists()


def test_without_a_sandbox_the_same_notebook_runs_too(work: Path) -> None:
    nb = notebook("x = 6", "x * 7", "import os; os._exit(1)")
    with SandboxedKernel(Unconfined(), work) as kernel:
        run = execute_notebook(nb, kernel, 60, 300)
    assert nb.cells[1].outputs[0].data == {"text/plain": "42"}
    assert (run.stopped_at, run.reason) == (2, "the kernel ended (exit status 1)")
