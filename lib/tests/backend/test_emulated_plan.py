"""The plan file: what is written is read, and nothing else is."""

import hashlib
import struct

import pytest

from conformance import models
from conformance.lab import Lab
from trtlab.backend.emulated import cuda, plan, tensorrt

HEADER_BYTES = 80


@pytest.fixture(scope="module")
def lab():
    return Lab("emulated", tensorrt, cuda)


@pytest.fixture(scope="module")
def data(lab):
    return bytes(lab.build(models.cnn()))


def test_a_plan_begins_with_the_marker_of_the_emulation(data):
    assert data.startswith(b"TRTLAB-EMULATED-PLAN")


def test_a_plan_survives_writing_and_reading(data):
    content = plan.parse(data)
    assert content.to_bytes() == data
    assert [tensor.name for tensor in content.metadata.tensors] == ["input", "output"]
    assert content.metadata.profiles[0]["input"] == ((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))


def test_the_digest_in_the_header_is_that_of_the_rest(data):
    assert data[24:56] == hashlib.sha256(data[56:]).digest()


def test_the_same_build_gives_the_same_bytes(lab, data):
    assert bytes(lab.build(models.cnn())) == data


@pytest.mark.parametrize("length", [1, 10, 20, HEADER_BYTES - 1, HEADER_BYTES, 1000, -1])
def test_a_truncated_plan_is_refused_as_truncated(data, length):
    with pytest.raises(plan.PlanError, match="truncated"):
        plan.parse(data[:length])


@pytest.mark.parametrize("position", [30, 60, HEADER_BYTES, 500, -1])
def test_a_flipped_byte_is_noticed_anywhere(data, position):
    damaged = bytearray(data)
    damaged[position] ^= 1
    with pytest.raises(plan.PlanError):
        plan.parse(bytes(damaged))


def test_bytes_behind_the_end_are_noticed(data):
    with pytest.raises(plan.PlanError, match="foreign bytes"):
        plan.parse(data + b"\0")


def test_another_format_version_is_named(data):
    future = data[:20] + struct.pack("<I", 99) + data[24:]
    with pytest.raises(plan.PlanError, match="99"):
        plan.parse(future)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no engine file"), (b"\x08\x08onnx", "no engine file"), (b"ftrt1234", "real TensorRT")],
)
def test_other_files_are_refused_with_the_reason(content, reason):
    with pytest.raises(plan.PlanError, match=reason):
        plan.parse(content)


def test_metadata_that_does_not_fit_the_schema_is_refused(data):
    content = plan.parse(data)
    broken = content.metadata.model_copy(update={"layers": "none"})
    with (
        pytest.warns(UserWarning, match="serializer"),
        pytest.raises(plan.PlanError, match="metadata"),
    ):
        plan.parse(content.model_copy(update={"metadata": broken}).to_bytes())


def test_the_runtime_logs_why_it_refuses(lab, data):
    for content, reason in [(data[:-5], "truncated"), (b"ftrt" + bytes(100), "real TensorRT")]:
        lab.log.clear()
        assert lab.runtime.deserialize_cuda_engine(content) is None
        assert reason in lab.errors()[0]


def test_a_plan_of_another_version_is_refused(lab, data):
    content = plan.parse(data)
    other = content.metadata.model_copy(update={"tensorrt_version": "8.5.0+emulated"})
    lab.log.clear()
    foreign = content.model_copy(update={"metadata": other}).to_bytes()
    assert lab.runtime.deserialize_cuda_engine(foreign) is None
    assert "8.5.0+emulated" in lab.errors()[0]


def test_weights_are_stored_in_the_precision_of_the_engine(lab):
    from onnx import ModelProto

    def weight_bytes(*flags):
        prepare = (lambda network, config: None) if "INT8" not in flags else _manual_ranges
        content = plan.parse(bytes(lab.build(models.cnn(), *flags, prepare=prepare)))
        weights = ModelProto.FromString(content.model).graph.initializer
        return sum(len(weight.raw_data) for weight in weights)

    full = weight_bytes()
    assert weight_bytes("FP16") == pytest.approx(full / 2, rel=0.05)
    # Beside a byte for each weight, int8 has scales and an int32 bias: a lot for so small a model.
    assert weight_bytes("INT8") < full / 2


def _manual_ranges(network, config):
    tensors = [network.get_input(0)]
    tensors += [network.get_layer(i).get_output(0) for i in range(network.num_layers)]
    for tensor in tensors:
        assert tensor.set_dynamic_range(-4, 4)
