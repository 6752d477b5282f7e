"""What the ONNX parser makes of models, good and bad, and what a network then tells."""

import pytest

from conformance import models


def layers(network):
    return [network.get_layer(index) for index in range(network.num_layers)]


def layer_named(network, name):
    return next(layer for layer in layers(network) if layer.name == name)


def test_a_good_model_parses_without_errors(lab):
    parsed = lab.parse(models.cnn())
    assert parsed.ok is True
    assert parsed.parser.num_errors == 0


def test_a_file_parses_as_its_bytes_do(lab, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.cnn())
    network = lab.network()
    assert lab.trt.OnnxParser(network, lab.log).parse_from_file(str(path))
    assert network.num_layers == lab.parse(models.cnn()).network.num_layers


def test_a_missing_file_is_an_error_and_no_exception(lab, tmp_path):
    parser = lab.trt.OnnxParser(lab.network(), lab.log)
    assert parser.parse_from_file(str(tmp_path / "missing.onnx")) is False
    assert lab.errors()


def test_half_a_model_fails_to_deserialize(lab):
    # Arbitrary text is not asked for: 8.6.0 takes some of it for an empty model.
    parsed = lab.parse(models.first_half(models.cnn()))
    assert parsed.ok is False
    assert parsed.parser.num_errors >= 1
    assert parsed.parser.get_error(0).code() == lab.trt.ErrorCode.MODEL_DESERIALIZE_FAILED


def test_an_unknown_operator_fails_as_an_unsupported_node(lab):
    parsed = lab.parse(models.unsupported())
    assert parsed.ok is False
    error = parsed.parser.get_error(0)
    assert error.code() == lab.trt.ErrorCode.UNSUPPORTED_NODE
    assert error.node() == 1
    assert error.desc()


def test_an_unknown_operator_is_named_in_the_log(lab):
    lab.parse(models.unsupported())
    assert any("Frobnicate" in text for _, text in lab.log.messages)
    assert lab.errors()


def test_errors_can_be_cleared(lab):
    parser = lab.parse(models.unsupported()).parser
    parser.clear_errors()
    assert parser.num_errors == 0


def test_the_parser_knows_which_operators_it_supports(lab):
    parser = lab.trt.OnnxParser(lab.network(), lab.log)
    assert parser.supports_operator("Conv")
    assert not parser.supports_operator("Frobnicate")


def test_a_path_is_no_model(lab):
    with pytest.raises(TypeError):
        lab.trt.OnnxParser(lab.network(), lab.log).parse("model.onnx")


def test_a_network_without_explicit_batch_takes_no_onnx_model_before_10(lab):
    network = lab.builder.create_network(0)
    parsed = lab.trt.OnnxParser(network, lab.log).parse(models.cnn(2))
    assert parsed is (lab.major >= 10)
    assert network.has_implicit_batch_dimension is (lab.major < 10)


def test_the_network_has_an_explicit_batch(lab):
    assert lab.network().has_implicit_batch_dimension is False


def test_inputs_and_outputs_keep_their_names_types_and_dynamic_sizes(lab):
    network = lab.parse(models.cnn()).network
    assert (network.num_inputs, network.num_outputs) == (1, 1)
    image, output = network.get_input(0), network.get_output(0)
    assert (image.name, image.dtype, tuple(image.shape)) == (
        "input",
        lab.trt.float32,
        (-1, 3, 16, 16),
    )
    assert (output.name, output.dtype) == ("output", lab.trt.float32)
    assert tuple(output.shape) == (-1, 5)


def test_a_static_model_has_no_dynamic_sizes(lab):
    network = lab.parse(models.cnn(2)).network
    assert tuple(network.get_input(0).shape) == (2, 3, 16, 16)
    assert tuple(network.get_output(0).shape) == (2, 5)


def test_tensors_know_whether_they_are_inputs_or_outputs(lab):
    network = lab.parse(models.cnn()).network
    image, output = network.get_input(0), network.get_output(0)
    hidden = layer_named(network, "/conv1/Conv").get_output(0)
    assert [t.is_network_input for t in (image, hidden, output)] == [True, False, False]
    assert [t.is_network_output for t in (image, hidden, output)] == [False, False, True]


def test_layers_are_named_and_typed_after_the_nodes(lab):
    network = lab.parse(models.cnn()).network
    types = {layer.name: layer.type for layer in layers(network)}
    assert types["/conv1/Conv"] == lab.trt.LayerType.CONVOLUTION
    assert types["/relu1/Relu"] == lab.trt.LayerType.ACTIVATION
    assert types["/Add"] == lab.trt.LayerType.ELEMENTWISE


def test_layers_are_wired_as_the_model_is(lab):
    network = lab.parse(models.cnn()).network
    conv, relu = (layer_named(network, name) for name in ("/conv1/Conv", "/relu1/Relu"))
    assert conv.get_input(0).name == "input"
    assert relu.get_input(0).name == conv.get_output(0).name
    assert (relu.num_inputs, relu.num_outputs) == (1, 1)


def test_a_layer_precision_can_be_set_and_reset(lab):
    layer = layer_named(lab.parse(models.cnn()).network, "/conv1/Conv")
    assert layer.precision_is_set is False
    layer.precision = lab.trt.float16
    assert (layer.precision, layer.precision_is_set) == (lab.trt.float16, True)
    layer.reset_precision()
    assert layer.precision_is_set is False


def test_a_layer_output_type_can_be_set_and_reset(lab):
    layer = layer_named(lab.parse(models.cnn()).network, "/conv1/Conv")
    assert layer.output_type_is_set(0) is False
    layer.set_output_type(0, lab.trt.float16)
    assert layer.output_type_is_set(0) is True
    assert layer.get_output_type(0) == lab.trt.float16
    layer.reset_output_type(0)
    assert layer.output_type_is_set(0) is False


def test_a_dynamic_range_can_be_set_and_reset(lab):
    tensor = lab.parse(models.cnn()).network.get_input(0)
    assert tensor.dynamic_range is None
    assert tensor.set_dynamic_range(-2.0, 2.0) is True
    assert tuple(tensor.dynamic_range) == (-2.0, 2.0)
    tensor.reset_dynamic_range()
    assert tensor.dynamic_range is None


def test_a_hidden_tensor_can_be_made_an_output(lab):
    network = lab.parse(models.cnn()).network
    hidden = layer_named(network, "/relu1/Relu").get_output(0)
    network.mark_output(hidden)
    assert network.num_outputs == 2
    assert hidden.is_network_output
    network.unmark_output(hidden)
    assert network.num_outputs == 1
