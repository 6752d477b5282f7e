"""engines.py: the sidecar, and what load_engine says of files that cannot be used."""

import json
from pathlib import Path

import pytest

from tiny import export_tiny, tiny_spec
from trtlab import engines
from trtlab.backend import trt
from trtlab.build import build_engine
from trtlab.engines import current_gpu, load_engine, read_sidecar, sidecar_path
from trtlab.errors import EngineError
from trtlab.files import sha256
from trtlab.logger import LOGGER


@pytest.fixture
def engine_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.engine"
    build_engine(export_tiny(tmp_path), path, tiny_spec())
    return path


def edit_sidecar(engine_path: Path, **changes: object) -> None:
    path = sidecar_path(engine_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# The sidecar


def test_the_sidecar_lies_beside_the_engine_and_keeps_its_suffix() -> None:
    assert sidecar_path("runs/x.engine") == Path("runs/x.engine.json")
    assert sidecar_path(Path("x.fp16.plan")) == Path("x.fp16.plan.json")


def test_the_sidecar_describes_the_files_as_they_lie_on_disk(engine_path: Path) -> None:
    sidecar = read_sidecar(engine_path)
    assert sidecar is not None
    assert sidecar.engine_sha256 == sha256(engine_path)
    assert sidecar.engine_bytes == engine_path.stat().st_size
    assert sidecar.onnx_sha256 == sha256(engine_path.with_name("tiny.onnx"))
    assert sidecar.spec == tiny_spec()
    assert sidecar.tensorrt_version == trt.__version__
    assert (sidecar.gpu, sidecar.compute_capability) == current_gpu()


def test_an_engine_without_a_sidecar_has_none_and_loads(engine_path: Path) -> None:
    sidecar_path(engine_path).unlink()
    assert read_sidecar(engine_path) is None
    assert load_engine(engine_path).num_io_tensors == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not json", "Invalid JSON"),
        ('{"schema_version": 2}', "schema_version"),
        ("{}", "tensorrt_version|backend"),
        ("\xff", "Invalid JSON"),
    ],
)
def test_a_damaged_sidecar_is_reported_with_its_reason(
    engine_path: Path, content: str, reason: str
) -> None:
    sidecar_path(engine_path).write_bytes(content.encode("latin-1"))
    with pytest.raises(EngineError, match=reason) as caught:
        load_engine(engine_path)
    assert "\n" not in str(caught.value)


def test_a_sidecar_with_an_impossible_spec_is_damaged(engine_path: Path) -> None:
    spec = tiny_spec().model_dump(mode="json")
    edit_sidecar(engine_path, spec={**spec, "workspace_mib": 0})
    with pytest.raises(EngineError, match="workspace_mib is 0"):
        read_sidecar(engine_path)


# Loading


def test_a_loaded_engine_outlives_the_call(engine_path: Path) -> None:
    engine = load_engine(str(engine_path))
    assert [engine.get_tensor_name(index) for index in range(2)] == ["input", "output"]
    assert engine.create_execution_context() is not None


def test_a_missing_engine_is_reported_with_what_lies_there(engine_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no engine file .*nope\.engine.*tiny\.engine"):
        load_engine(engine_path.with_name("nope.engine"))
    with pytest.raises(EngineError, match=r"In that folder: none"):
        load_engine(engine_path.parent / "no_folder" / "x.engine")


def test_a_folder_is_not_an_engine_file(engine_path: Path) -> None:
    with pytest.raises(EngineError, match="no engine file"):
        load_engine(engine_path.parent)


def test_an_empty_engine_is_reported_as_empty(engine_path: Path) -> None:
    engine_path.write_bytes(b"")
    with pytest.raises(EngineError, match="is empty"):
        load_engine(engine_path)


def test_a_truncated_engine_is_reported_with_both_sizes(engine_path: Path) -> None:
    data = engine_path.read_bytes()
    engine_path.write_bytes(data[:-100])
    with pytest.raises(
        EngineError, match=f"truncated: it has {len(data) - 100:,} of {len(data):,}"
    ):
        load_engine(engine_path)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_engine_without_a_sidecar_is_refused_too(
    engine_path: Path, keep: float, capfd: pytest.CaptureFixture[str]
) -> None:
    sidecar_path(engine_path).unlink()
    data = engine_path.read_bytes()
    engine_path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(EngineError, match=r"cannot load .*: \S+"):
        load_engine(engine_path)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""  # TensorRT's reason is in the exception instead


def test_an_engine_changed_after_the_build_is_refused(engine_path: Path) -> None:
    data = bytearray(engine_path.read_bytes())
    data[-10] ^= 0xFF
    engine_path.write_bytes(data)
    with pytest.raises(EngineError, match="SHA-256 differ"):
        load_engine(engine_path)


def test_an_onnx_file_is_not_an_engine_and_recognised(engine_path: Path) -> None:
    with pytest.raises(EngineError, match=r"not an engine.*looks like an ONNX file"):
        load_engine(engine_path.with_name("tiny.onnx"))


def test_any_other_file_is_shown_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.engine").write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(EngineError, match=r"not an engine: it begins with b'<!DOCTYPE html>"):
        load_engine(tmp_path / "x.engine")


def test_an_engine_of_another_tensorrt_version_is_refused(engine_path: Path) -> None:
    edit_sidecar(engine_path, tensorrt_version="8.5.3")
    with pytest.raises(EngineError, match=r"built by TensorRT 8\.5\.3, and this is 8\.6"):
        load_engine(engine_path)


def test_an_engine_of_another_gpu_is_refused(
    engine_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_sidecar(engine_path, gpu="NVIDIA A10", compute_capability="8.6")
    monkeypatch.setattr(engines, "current_gpu", lambda: ("NVIDIA H200", "9.0"))
    with pytest.raises(EngineError, match=r"built for NVIDIA A10 .*8\.6.*this is NVIDIA H200"):
        load_engine(engine_path)


def test_a_real_plan_is_refused_by_the_emulation(tmp_path: Path) -> None:
    (tmp_path / "x.engine").write_bytes(b"ftrt" + bytes(200))
    with pytest.raises(EngineError, match="built by TensorRT for a GPU, and this is the CPU"):
        load_engine(tmp_path / "x.engine")


def test_an_emulated_plan_never_reaches_real_tensorrt(
    engine_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "IS_EMULATED", False)
    monkeypatch.setattr(trt, "Runtime", None)  # calling it would be a TypeError
    with pytest.raises(EngineError, match="built by the CPU emulation"):
        load_engine(engine_path)


def test_the_name_and_capability_of_a_gpu_come_from_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Device:
        def __init__(self, index: int) -> None:
            assert index == 0

        def name(self) -> str:
            return "NVIDIA H200"

        def compute_capability(self) -> tuple[int, int]:
            return 9, 0

    monkeypatch.setattr(engines, "IS_EMULATED", False)
    monkeypatch.setattr(engines.cuda, "Device", Device)
    assert current_gpu() == ("NVIDIA H200", "9.0")


# The logger


def test_the_logger_keeps_warnings_and_errors_apart_once_and_only_while_listening() -> None:
    LOGGER.log(trt.ILogger.ERROR, "before")
    with LOGGER.listen() as messages:
        for _ in range(2):
            LOGGER.log(trt.ILogger.ERROR, "first\n  line")
        LOGGER.log(trt.ILogger.INTERNAL_ERROR, "second")
        LOGGER.log(trt.ILogger.WARNING, "careful")
        LOGGER.log(trt.ILogger.INFO, "chatter")
    LOGGER.log(trt.ILogger.ERROR, "after")
    assert messages.errors == ["first\n  line", "second"]
    assert messages.warnings == ["careful"]
    assert messages.because() == ": first line; second"


def test_an_inner_listener_does_not_take_messages_from_an_outer_one() -> None:
    with LOGGER.listen() as outer:
        with LOGGER.listen() as inner:
            LOGGER.log(trt.ILogger.WARNING, "one")
        LOGGER.log(trt.ILogger.WARNING, "two")
    assert inner.warnings == ["one"]
    assert outer.warnings == ["one", "two"]
