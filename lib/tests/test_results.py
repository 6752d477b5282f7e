import json

import pytest
from pydantic import ValidationError

from sample_results import sample_results, sample_speedup
from trtlab.errors import OutputError, ResultsError
from trtlab.results import SCHEMA_VERSION, Comparison, Results, read_results, write_results


@pytest.fixture
def stored(tmp_path):
    """A results file's path and its content as plain JSON."""
    path = write_results(tmp_path / "out" / "results.json", sample_results())
    return path, json.loads(path.read_text())


@pytest.mark.parametrize("emulated", [False, True])
def test_what_is_written_is_what_is_read(tmp_path, emulated):
    results = sample_results(emulated)
    assert read_results(write_results(tmp_path / "results.json", results)) == results


def test_the_file_states_its_schema_version(stored):
    assert stored[1]["schema_version"] == SCHEMA_VERSION


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(ResultsError, match=r"no results file .*nowhere.json.*trtlab benchmark"):
        read_results(tmp_path / "nowhere.json")


@pytest.mark.parametrize("content", [b"", b"{", b"latency 3 ms", b"\xff\xfe\x00"])
def test_a_file_that_is_not_json_is_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match="is not JSON"):
        read_results(path)


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"latency": 3}'])
def test_json_without_a_schema_version_is_no_results_file(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ResultsError, match="no schema_version"):
        read_results(path)


def test_another_schema_version_is_named_with_what_to_do(stored):
    path, data = stored
    path.write_text(json.dumps({**data, "schema_version": 7}))
    with pytest.raises(ResultsError, match=r"version 7; .*reads version 1.*benchmark again"):
        read_results(path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="cannot be read"):
        read_results(tmp_path)


def test_the_first_problems_are_named_and_the_rest_counted(stored):
    path, data = stored
    for runner in data["runners"]:
        runner["kind"] = "abacus"
    path.write_text(json.dumps(data))
    with pytest.raises(ResultsError, match=r"runners\.0\.kind: .*'pytorch'.*and 2 more"):
        read_results(path)


def test_a_misspelt_field_is_refused_rather_than_dropped(stored):
    path, data = stored
    data["runners"][0]["gpu_memory_mb"] = 3.0
    path.write_text(json.dumps(data))
    with pytest.raises(ResultsError, match="gpu_memory_mb"):
        read_results(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_time_that_is_no_time_is_refused(stored, value):
    path, data = stored
    data["runners"][0]["batches"][0]["latency"]["median_ms"] = value
    path.write_text(json.dumps(data))
    with pytest.raises(ResultsError, match="median_ms"):
        read_results(path)


def test_emulated_results_cannot_hold_a_speedup():
    data = sample_results(emulated=True).model_dump()
    comparison = Comparison(
        runner="tensorrt-fp16", baseline="pytorch-fp32", batch_size=1, speedup=sample_speedup(3.0)
    )
    data["comparisons"] = [comparison.model_dump()]
    with pytest.raises(ValidationError, match="emulated time is not GPU time"):
        Results.model_validate(data)


def test_two_runners_of_one_name_are_refused():
    data = sample_results().model_dump()
    data["runners"].append(data["runners"][0])
    with pytest.raises(ValidationError, match="same name"):
        Results.model_validate(data)


def test_a_comparison_of_an_unknown_runner_is_refused():
    data = sample_results().model_dump()
    data["comparisons"][0]["runner"] = "tensorrt-fp8"
    with pytest.raises(ValidationError, match="tensorrt-fp8"):
        Results.model_validate(data)


def test_a_failed_write_leaves_the_old_file(stored):
    path, data = stored
    with pytest.raises(OutputError, match="a part of the path is a file"):
        write_results(path / "sub" / "results.json", sample_results())
    assert json.loads(path.read_text()) == data


def test_look_ups_find_what_is_there_and_nothing_else():
    results = sample_results()
    runner = results.runner("tensorrt-int8")
    assert runner is not None
    assert runner.at(8).latency.median_ms == 0.77
    assert runner.at(9) is None
    assert results.runner("tensorrt-fp8") is None
    assert results.speedup("tensorrt-int8", "pytorch-tf32", 32).speedup == pytest.approx(6.2 / 2.31)
    assert results.speedup("tensorrt-int8", "tensorrt-fp32", 32) is None
