"""TensorRTInference: right answers for any batch, clear refusals, and nothing leaked or shared."""

import gc
import threading

import numpy as np
import pytest
import torch

from inference.conftest import TWO_PROFILES, images
from trtlab.backend import IS_EMULATED, compat, cuda, trt
from trtlab.build import build_engine
from trtlab.engines import load_engine
from trtlab.errors import EngineError, InferenceError, InputError
from trtlab.export import export_onnx
from trtlab.infer import TensorRTInference
from trtlab.spec import BuildSpec, Precision

frees_to_the_byte = pytest.mark.skipif(
    not IS_EMULATED, reason="a GPU reports free memory in pages of 2 MiB"
)


def free_memory():
    gc.collect()
    return cuda.mem_get_info()[0]


@pytest.fixture
def model(engine_path):
    with TensorRTInference(engine_path) as model:
        yield model


class TestResults:
    @pytest.mark.parametrize("batch", range(1, 9))
    def test_every_batch_of_the_profile_agrees_with_pytorch(self, model, expected, batch):
        x = images(batch, seed=batch)
        logits = model.infer(x)
        assert (logits.shape, logits.dtype) == ((batch, 5), np.float32)
        np.testing.assert_allclose(logits, expected(x), atol=1e-4)

    def test_batches_may_grow_and_shrink_from_call_to_call(self, model, expected):
        for batch in (8, 1, 5, 2, 8):
            x = images(batch, seed=batch)
            np.testing.assert_allclose(model(x), expected(x), atol=1e-4)

    def test_results_are_the_callers_own(self, model, expected):
        x, y = images(3, seed=1), images(3, seed=2)
        first = model.infer(x)
        kept = first.copy()
        first_again = model.infer(y)
        np.testing.assert_array_equal(first, kept)
        first_again[:] = 0
        assert first_again.flags.owndata
        np.testing.assert_allclose(model.infer(y), expected(y), atol=1e-4)

    def test_results_outlive_the_engine(self, engine_path, expected):
        with TensorRTInference(engine_path) as model:
            logits = model.infer(images(2))
        np.testing.assert_allclose(logits, expected(images(2)), atol=1e-4)

    @pytest.mark.parametrize(
        "arrange",
        [
            np.asfortranarray,
            lambda x: x[::-1],
            lambda x: x[:, ::-1, :, ::-1],
            lambda x: np.broadcast_to(x[:1], x.shape),
        ],
    )
    def test_any_memory_layout_is_taken(self, model, expected, arrange):
        x = arrange(images(4))
        np.testing.assert_allclose(model.infer(x), expected(x), atol=1e-4)

    def test_the_input_is_left_alone_even_read_only(self, model):
        x = images(4)
        x.flags.writeable = False
        model.infer(x)
        np.testing.assert_array_equal(x, images(4))

    def test_names_in_give_names_out(self, model, expected):
        outputs = model.infer({"input": images(2)})
        assert list(outputs) == ["output"]
        np.testing.assert_allclose(outputs["output"], expected(images(2)), atol=1e-4)

    def test_several_inputs_and_outputs_go_by_name(self, two_inputs_path):
        a, b = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
        with TensorRTInference(two_inputs_path) as model:
            outputs = model.infer({"b": b, "a": a})
        np.testing.assert_array_equal(outputs["total"], a + b)
        np.testing.assert_array_equal(outputs["difference"], a - b)

    def test_a_deserialised_engine_serves_as_well_as_a_path(self, engine_path, expected):
        with TensorRTInference(load_engine(engine_path)) as model:
            np.testing.assert_allclose(model(images(2)), expected(images(2)), atol=1e-4)

    def test_two_instances_of_one_engine_work_side_by_side(self, engine_path, expected):
        # On 8.6 only because build_engine asks for PROFILE_SHARING_0806.
        engine = load_engine(engine_path)
        with TensorRTInference(engine) as one, TensorRTInference(engine) as two:
            x, y = images(3, seed=1), images(7, seed=2)
            np.testing.assert_allclose(one(x), expected(x), atol=1e-4)
            np.testing.assert_allclose(two(y), expected(y), atol=1e-4)
            np.testing.assert_allclose(one(y), expected(y), atol=1e-4)


class TestProfiles:
    def test_specs_tell_names_shapes_and_profiles(self, model):
        spec = model.inputs["input"]
        assert (spec.name, spec.dtype, spec.shape) == ("input", np.float32, (-1, 3, 8, 8))
        assert [shapes.min[0] for shapes in spec.profiles] == [1, 9]
        assert [shapes.opt for shapes in spec.profiles] == [(4, 3, 8, 8), (16, 3, 8, 8)]
        assert [shapes.max[0] for shapes in spec.profiles] == [8, 16]
        assert model.outputs["output"].shape == (-1, 5)
        assert model.max_batch == 8

    def test_another_profile_takes_its_own_batches(self, engine_path, expected):
        with TensorRTInference(engine_path, profile=1) as model:
            assert model.max_batch == 16
            for batch in (9, 16):
                x = images(batch)
                np.testing.assert_allclose(model(x), expected(x), atol=1e-4)

    def test_a_batch_of_another_profile_is_refused_with_its_number(self, model):
        with pytest.raises(InputError, match=r"0 takes \(1, 3, 8, 8\) to \(8, 3, 8, 8\).*=1\)"):
            model.infer(images(12))

    def test_a_batch_of_no_profile_is_refused_with_advice(self, model):
        with pytest.raises(InputError, match=r"shape \(17, 3, 8, 8\).*Split or fill up"):
            model.infer(images(17))

    @pytest.mark.parametrize("profile", [-1, 2])
    def test_a_profile_that_is_not_there_is_refused(self, engine_path, profile):
        with pytest.raises(InferenceError, match=rf"no optimization profile {profile}; .* has 2"):
            TensorRTInference(engine_path, profile=profile)

    def test_a_fixed_batch_is_its_own_profile(self, network, tmp_path, expected):
        path = export_onnx(
            network, tmp_path / "x.onnx", input_shape=(3, 8, 8), batch_size=2, dynamic_batch=False
        )
        build_engine(path, tmp_path / "x.engine", BuildSpec(precision=Precision.FP32, profiles=()))
        with TensorRTInference(tmp_path / "x.engine") as model:
            assert model.max_batch == 2
            np.testing.assert_allclose(model(images(2)), expected(images(2)), atol=1e-4)
            with pytest.raises(InputError, match=r"shape \(1, 3, 8, 8\), expected float32 \(2, 3"):
                model(images(1))


class TestInputsThatDoNotFit:
    @pytest.mark.parametrize(
        ("x", "reason"),
        [
            (images(2).astype(np.float64), r"is float64, expected float32.*astype\(np\.float32\)"),
            (images(2).astype(np.float16), "is float16, expected float32"),
            (np.zeros((2, 3, 8, 8), np.uint8), "is uint8, expected float32.*preprocessing"),
            (images(2)[0], r"shape \(3, 8, 8\), expected float32 \(N, 3, 8, 8\).*np\.newaxis"),
            (images(2)[..., None], r"shape \(2, 3, 8, 8, 1\)"),
            (images(2)[:, :1], r"shape \(2, 1, 8, 8\), expected float32 \(N, 3, 8, 8\)"),
            (images(2).transpose(0, 2, 3, 1), r"shape \(2, 8, 8, 3\)"),
            (images(0), r"shape \(0, 3, 8, 8\), and profile 0 takes"),
            (np.float32(1), "is a float32, expected a NumPy array"),
            ([[1.0]], "is a list, expected a NumPy array"),
            (torch.zeros(2, 3, 8, 8), r"is a Tensor.*tensor\.cpu\(\)\.numpy\(\)"),
        ],
    )
    def test_the_refusal_says_what_was_there_and_what_to_do(self, model, x, reason):
        with pytest.raises(InputError, match=reason):
            model.infer(x)

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
    def test_one_bad_value_is_found(self, model, expected, value):
        x = images(8)
        x[5, 1, 2, 3] = value
        with pytest.raises(InputError, match="holds 1 values that are NaN or infinite"):
            model.infer(x)
        np.testing.assert_allclose(model(images(8)), expected(images(8)), atol=1e-4)

    def test_infinities_that_cancel_out_are_found(self, model):
        x = images(2)
        x[0, 0, 0, :2] = np.inf, -np.inf
        with pytest.raises(InputError, match="holds 2 values"):
            model.infer(x)

    def test_large_finite_values_pass(self, model):
        x = np.full((2, 3, 8, 8), 3e38, np.float32)
        assert model.infer(x).shape == (2, 5)

    def test_wrong_names_are_refused_with_the_right_ones(self, model):
        with pytest.raises(InputError, match="lacks 'input' and does not know 'x'; its inputs"):
            model.infer({"x": images(1)})
        with pytest.raises(InputError, match="engine does not know 'mask'"):
            model.infer({"input": images(1), "mask": images(1)})

    def test_one_array_for_several_inputs_is_refused_with_their_names(self, two_inputs_path):
        with TensorRTInference(two_inputs_path) as model:
            with pytest.raises(InputError, match=r"inputs 'a', 'b' and the outputs 'total'.*dict"):
                model.infer(np.zeros((2, 4), np.float32))
            with pytest.raises(InputError, match="engine lacks 'b'"):
                model.infer({"a": np.zeros((2, 4), np.float32)})

    def test_inputs_of_different_batches_fail_and_the_next_call_is_right(self, two_inputs_path):
        ones = np.ones((2, 4), np.float32)
        with TensorRTInference(two_inputs_path) as model:
            with pytest.raises(InputError, match="'a' has 2, 'b' has 3"):
                model.infer({"a": ones, "b": np.ones((3, 4), np.float32)})
            np.testing.assert_array_equal(model.infer({"a": ones, "b": ones})["total"], ones * 2)


class TestLifetime:
    @frees_to_the_byte
    def test_close_returns_the_memory_and_may_be_called_twice(self, engine_path):
        before = free_memory()
        model = TensorRTInference(engine_path)
        model.infer(images(8))
        assert free_memory() < before
        model.close()
        model.close()
        assert free_memory() == before

    def test_after_close_infer_says_so(self, engine_path):
        with TensorRTInference(engine_path) as model:
            pass
        with pytest.raises(InferenceError, match="was closed"):
            model.infer(images(1))

    @frees_to_the_byte
    def test_a_forgotten_instance_returns_its_memory(self, engine_path):
        before = free_memory()
        model = TensorRTInference(engine_path)
        assert free_memory() < before
        del model
        assert free_memory() == before

    def test_a_failed_start_raises_once_and_its_remains_are_quiet(self, tmp_path):
        with pytest.raises(EngineError, match=r"no engine file .*gone\.engine"):
            TensorRTInference(tmp_path / "gone.engine")
        TensorRTInference.__new__(TensorRTInference).__del__()
        gc.collect()  # an exception in __del__ would fail the test as a warning

    def test_a_full_gpu_is_told_in_sizes_and_leaks_nothing(self, engine_path, monkeypatch):
        before = free_memory()
        allocations = []

        def second_fails(nbytes, allocate=cuda.mem_alloc):
            allocations.append(nbytes)
            if len(allocations) == 2:
                raise cuda.MemoryError("cuMemAlloc failed: out of memory")
            return allocate(nbytes)

        monkeypatch.setattr(cuda, "mem_alloc", second_fails)
        with pytest.raises(InferenceError, match=r"0\.0 MiB at a batch of 8, and \d") as caught:
            TensorRTInference(engine_path)
        assert allocations == [8 * 3 * 8 * 8 * 4, 8 * 5 * 4]  # the largest batch, once
        monkeypatch.undo()
        if IS_EMULATED:  # a GPU reports free memory in pages of 2 MiB
            # Also while the exception, whose traceback refers to the instance, is being handled.
            assert caught.tb is not None
            assert free_memory() == before

    def test_nothing_is_allocated_on_the_device_after_the_start(self, model, monkeypatch):
        def refuse(*_):
            raise AssertionError("allocated during inference")

        for name in ("mem_alloc", "pagelocked_empty"):
            monkeypatch.setattr(cuda, name, refuse)
        for batch in (1, 8, 3):
            model.infer(images(batch))


class TestFailures:
    @pytest.mark.skipif(compat.version_tuple(trt.__version__)[0] >= 10, reason="10 shares profiles")
    def test_a_profile_that_another_context_holds_is_refused_with_the_reason(
        self, network, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(compat, "share_profiles", lambda trt, config: None)
        onnx_path = export_onnx(network, tmp_path / "x.onnx", input_shape=(3, 8, 8))
        build_engine(onnx_path, tmp_path / "x.engine", TWO_PROFILES)
        engine = load_engine(tmp_path / "x.engine")
        with TensorRTInference(engine):
            with pytest.raises(InferenceError, match="profile 0 of this engine is in use"):
                TensorRTInference(engine)
            TensorRTInference(engine, profile=1).close()

    def test_an_enqueue_that_fails_raises_with_tensorrts_reason(self, model, expected):
        context, buffer = model._context, model._buffers["output"]
        assert context.set_tensor_address("output", 0)
        reason = "output" if IS_EMULATED else "enqueueV3"
        with pytest.raises(InferenceError, match=f"TensorRT could not run the engine: .*{reason}"):
            model.infer(images(2))
        assert context.set_tensor_address("output", int(buffer.device))
        np.testing.assert_allclose(model(images(3)), expected(images(3)), atol=1e-4)

    def test_an_error_of_the_gpu_is_an_inference_error(self, model, monkeypatch):
        def broken(*_):
            raise cuda.LogicError("cuMemcpyDtoHAsync failed: an illegal memory access")

        monkeypatch.setattr(cuda, "memcpy_dtoh_async", broken)
        with pytest.raises(InferenceError, match=r"GPU failed .* illegal memory access"):
            model.infer(images(2))


class TestThreads:
    def test_threads_that_share_an_instance_get_their_own_results(self, model, expected):
        inputs = {seed: images(1 + seed % 8, seed) for seed in range(8)}
        wanted = {seed: expected(x) for seed, x in inputs.items()}
        start = threading.Barrier(len(inputs))
        failures = []

        def work(seed):
            start.wait()
            for _ in range(20):
                got = model.infer(inputs[seed])
                if got.shape != wanted[seed].shape or not np.allclose(got, wanted[seed], atol=1e-4):
                    failures.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in inputs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_an_instance_may_be_closed_by_another_thread(self, engine_path):
        model = TensorRTInference(engine_path)
        thread = threading.Thread(target=model.close)
        thread.start()
        thread.join()
        with pytest.raises(InferenceError, match="was closed"):
            model.infer(images(1))
