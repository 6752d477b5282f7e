import json
import platform
from types import SimpleNamespace

import pynvml
import pytest
import torch

from trtlab import backend
from trtlab.errors import ModelError
from trtlab.machine import MachineFacts, machine_facts, nvml_device
from trtlab.memory import file_size_mib, gpu_memory_mib

GPUS = ["first", "second"]


class FakeNvml:
    """NVML of a machine with two GPUs, of which some questions have no answer."""

    def __init__(self, monkeypatch):
        self.open = 0
        self.unsupported = {"nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature"}
        answers = {
            "nvmlDeviceGetName": lambda device: f"GPU {device}",
            "nvmlDeviceGetCudaComputeCapability": lambda device: (9, 0),
            "nvmlSystemGetCudaDriverVersion": lambda: 12_040,
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(
                total=64 << 30, used=(1000 if device == "first" else 2000) << 20
            ),
            "nvmlDeviceGetPowerUsage": None,
            "nvmlDeviceGetTemperature": None,
            "nvmlDeviceGetEnforcedPowerLimit": lambda device: 700_000,
            "nvmlDeviceGetClockInfo": lambda device, kind: 1500 + kind,
            "nvmlDeviceGetMaxClockInfo": lambda device, kind: 1980,
            "nvmlDeviceGetHandleByIndex": self.by_index,
            "nvmlDeviceGetHandleByUUID": self.by_uuid,
            "nvmlInit": self.enter,
            "nvmlShutdown": self.leave,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer or self.refuse)

    def refuse(self, *arguments):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def by_index(self, index):
        if index >= len(GPUS):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return GPUS[index]

    def by_uuid(self, uuid):
        return {"GPU-aa": "first", "GPU-bb": "second"}[uuid]

    def enter(self):
        self.open += 1

    def leave(self):
        self.open -= 1


@pytest.fixture
def nvml(monkeypatch):
    return FakeNvml(monkeypatch)


@pytest.fixture
def no_nvml(monkeypatch):
    def missing():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)


def test_without_a_gpu_the_facts_have_none_and_nothing_fails(no_nvml):
    facts = machine_facts()
    assert facts.gpu is None
    assert gpu_memory_mib() is None


def test_versions_and_backend_are_those_in_use(no_nvml):
    facts = machine_facts()
    assert (facts.backend, facts.emulated) == (backend.NAME, backend.IS_EMULATED)
    assert facts.versions["python"] == platform.python_version()
    assert facts.versions["torch"] == torch.__version__
    assert facts.versions["tensorrt"] == backend.trt.__version__
    assert facts.cpu_cores >= 1
    assert facts.cpu


def test_a_package_that_is_not_installed_has_no_version(no_nvml, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def nothing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("trtlab.machine.version", nothing)
    assert machine_facts().versions["onnx"] is None


@pytest.mark.parametrize("allowed", [True, False])
def test_the_tf32_switches_are_read_from_pytorch(no_nvml, allowed):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32, matmul.allow_tf32 = allowed, not allowed
        facts = machine_facts()
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
    assert (facts.tf32_convolutions, facts.tf32_matmuls) == (allowed, not allowed)


def test_what_a_gpu_does_not_tell_is_none_and_the_rest_is_there(nvml, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu = machine_facts().gpu
    assert (gpu.power_w, gpu.temperature_c) == (None, None)
    assert (gpu.name, gpu.compute_capability, gpu.driver) == ("GPU first", "9.0", "580.1")
    assert (gpu.cuda_driver, gpu.memory_mib, gpu.power_limit_w) == ("12.4", 65_536, 700.0)
    assert (gpu.sm_clock_mhz, gpu.memory_clock_mhz) == (
        1500 + pynvml.NVML_CLOCK_SM,
        1500 + pynvml.NVML_CLOCK_MEM,
    )


@pytest.mark.parametrize(
    ("visible", "device"),
    [
        ("0", "first"),
        ("1", "second"),
        ("1,0", "second"),
        ("GPU-bb", "second"),
        ("", None),
        ("-1", None),
        ("7", None),
    ],
)
def test_the_device_is_the_one_that_cuda_shows(nvml, monkeypatch, visible, device):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with nvml_device() as found:
        assert found == device
    assert nvml.open == 0


def test_nvml_is_closed_after_an_error(nvml):
    with pytest.raises(KeyError), nvml_device():
        raise KeyError
    assert nvml.open == 0


def test_gpu_memory_is_the_used_memory_of_that_device(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_memory_mib() == 2000.0
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", nvml.refuse)
    assert gpu_memory_mib() is None


def test_file_sizes_are_in_mib(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(bytes(3 << 19))
    assert file_size_mib(path) == 1.5
    with pytest.raises(ModelError, match="no file"):
        file_size_mib(tmp_path / "missing.engine")


def test_the_facts_survive_json_and_name_neither_host_nor_user(nvml):
    facts = machine_facts()
    text = facts.model_dump_json()
    assert MachineFacts.model_validate(json.loads(text)) == facts
    assert platform.node() not in text
