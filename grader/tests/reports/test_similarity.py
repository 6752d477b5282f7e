"""Similar code: what a copyist changes does not hide a copy, and independent work stays apart."""

import ast
import json
import os
import random
import re
import subprocess
import sys
import time
import tokenize
from io import StringIO
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutants import labs_with_mutants, mutants_of
from reports import independent
from trtlab_grader.course import LABS
from trtlab_grader.reports.similarity import (
    GRAM,
    NEAR_IDENTICAL,
    WINDOW,
    Submission,
    code_of,
    similar_pairs,
)

ROOT = Path(__file__).parents[3]
SOLUTIONS = {
    "02-build": (independent.LAB2_ADA, independent.LAB2_BOB),
    "05-benchmark": (independent.LAB5_ADA, independent.LAB5_BOB),
}
CODES = [code for pair in SOLUTIONS.values() for code in pair]
HIGH, LOW = 0.9, 0.25
unhurried = settings(deadline=None, max_examples=50)


def notebook(folder: str, lab: str) -> str:
    return code_of((ROOT / folder / lab / f"{lab}.ipynb").read_bytes())


def score(first: str, second: str, released: str = "") -> float:
    pairs = similar_pairs(
        [Submission("a", "lab", first), Submission("b", "lab", second)], {"lab": released}, 0.0
    )
    return pairs[0].score if pairs else 0.0


def own_names(code: str) -> list[str]:
    """Return the names that the code itself makes up and that nothing outside knows."""
    names = {
        node.id
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return sorted(names)


def without_comments(code: str) -> str:
    kept = [
        t for t in tokenize.generate_tokens(StringIO(code).readline) if t[0] != tokenize.COMMENT
    ]
    return tokenize.untokenize(kept)


class TestDisguises:
    @unhurried
    @given(st.sampled_from(CODES), st.data())
    def test_renaming_variables_hides_nothing(self, code: str, data: st.DataObject) -> None:
        names = own_names(code)
        letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
        new = data.draw(st.lists(letters, min_size=len(names), max_size=len(names), unique=True))
        table = {old: f"my_{fresh}" for old, fresh in zip(names, new, strict=True)}
        renamed = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: table.get(m[0], m[0]), code)
        assert renamed != code
        assert score(code, renamed) >= HIGH

    @unhurried
    @given(st.sampled_from(CODES), st.integers(1, 8), st.booleans())
    def test_reformatting_hides_nothing(self, code: str, indent: int, unparse: bool) -> None:
        text = ast.unparse(ast.parse(code)) if unparse else code
        other = re.sub(
            r"^( {4})+", lambda m: " " * (indent * (len(m[0]) // 4)), text, flags=re.MULTILINE
        )
        other = other.replace(", ", " ,\n  ") if "lambda" not in other else other
        assert score(code, other) >= 0.8  # unparse drops brackets and joins strings

    @unhurried
    @given(st.sampled_from(CODES), st.randoms())
    def test_reordering_functions_hides_nothing(self, code: str, dice: random.Random) -> None:
        parts = [ast.unparse(part) for part in ast.parse(code).body]
        shuffled = parts.copy()
        dice.shuffle(shuffled)
        assert score("\n\n".join(parts), "\n\n".join(shuffled)) == 1.0

    @unhurried
    @given(st.lists(st.text("abc #'\"", max_size=30), min_size=60, max_size=60))
    def test_other_comments_hide_nothing(self, comments: list[str]) -> None:
        code = notebook("solutions", "05-benchmark")
        bare = independent.LAB5_ADA
        lines = [
            f"{line}  # {comment}" if line and '"""' not in line else line
            for line, comment in zip(bare.splitlines(), comments * 2, strict=False)
        ]
        assert score(bare, "\n".join(lines)) == 1.0
        assert score(code, without_comments(code)) == 1.0

    def test_other_docstrings_numbers_and_trailing_commas_hide_nothing(self) -> None:
        code = independent.LAB2_ADA
        other = code.replace("Build TensorRT engine", "Meine Engine").replace(
            "2147483648", "2 << 30"
        )
        other = other.replace("str(p.get_error(0))", "str(\n    p.get_error(0),\n)")
        assert other != code
        assert score(code, other) >= HIGH

    def test_code_added_to_a_copy_hides_nothing(self) -> None:
        ada, bob = SOLUTIONS["05-benchmark"]
        assert score(ada, bob + ada + independent.LAB2_BOB) == 1.0


class TestMaterial:
    @pytest.mark.parametrize("lab", labs_with_mutants())
    def test_every_mutant_is_near_identical_to_the_reference(self, lab: int) -> None:
        name = LABS[lab - 1]
        reference, released = notebook("solutions", name), notebook("labs", name)
        for mutant in mutants_of(lab):
            changed = reference.replace(mutant.old, mutant.new)
            if changed != reference:
                assert score(reference, changed, released) >= NEAR_IDENTICAL, mutant.name

    @pytest.mark.parametrize("lab", SOLUTIONS)
    def test_independent_solutions_stay_apart(self, lab: str) -> None:
        released = notebook("labs", lab)
        everybody = [*SOLUTIONS[lab], notebook("solutions", lab)]
        for first, second in combinations(everybody, 2):
            assert score(first, second, released) <= LOW


class TestWhatDoesNotCount:
    def test_two_untouched_releases_have_nothing_in_common_that_counts(self) -> None:
        for lab in LABS:
            released = notebook("labs", lab)
            assert score(released, released, released) == 0.0
            assert score(released, released) == 1.0

    def test_what_most_of_a_class_shares_does_not_count_and_what_two_share_does(self) -> None:
        shared = independent.LAB2_ADA
        # Eight functions that differ in what they call, each long enough for fingerprints.
        own = [
            f"def f{i}(x):\n"
            + "".join(f"    x.call{i}_{j}(x, {j}).then{j}_{i}()\n" for j in range(9))
            for i in range(8)
        ]
        group = [Submission(f"s{i}", "lab", shared + own[i]) for i in range(8)]
        assert similar_pairs(group, {}) == []
        group[7] = Submission("s7", "lab", shared + own[0].replace("x", "y"))
        (pair,) = similar_pairs(group, {})
        assert (pair.first, pair.second, pair.score) == ("s0", "s7", 1.0)
        assert "call0_3" in pair.regions[0].first

    def test_labs_are_not_compared_with_each_other(self) -> None:
        code = independent.LAB2_ADA
        assert similar_pairs([Submission("a", "x", code), Submission("b", "y", code)], {}) == []

    def test_too_little_code_says_nothing(self) -> None:
        code = "def f(x):\n    return x + 1\n"
        assert score(code, code) == 0.0


class TestAnswers:
    def test_a_match_of_the_guaranteed_length_is_found_wherever_it_stands(self) -> None:
        passage = "\n".join(f"a.step{i}()" for i in range(4 * (GRAM + WINDOW)))
        for before in range(12):
            other = "".join(f"b.other{i}(1)\n" for i in range(before)) + passage
            assert score(passage, other) >= HIGH

    def test_fingerprints_do_not_depend_on_the_processs_hash_seed(self) -> None:
        script = (
            "from reports.independent import LAB5_ADA, LAB5_BOB\n"
            "from trtlab_grader.reports.similarity import Submission, similar_pairs\n"
            "both = [Submission(s, 'lab', code) for s, code in "
            "(('a', LAB5_ADA), ('b', LAB5_BOB + LAB5_ADA[900:2200]))]\n"
            "print(similar_pairs(both, {}, 0.0))\n"
        )
        path = os.pathsep.join(str(ROOT / part) for part in ("lib", "grader", "grader/tests"))
        answers = {
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(answers) == 1
        assert "shared=" in answers.pop()

    def test_regions_are_whole_lines_of_each_students_own_text(self) -> None:
        ada = independent.LAB5_ADA
        copy = ada.replace("samples", "zeiten")
        (pair,) = similar_pairs([Submission("b", "l", copy), Submission("a", "l", ada)], {})
        assert (pair.first, pair.second) == ("a", "b")
        assert pair.regions
        for region in pair.regions:
            own, _, left_out = region.first.partition("\n... ")
            assert f"\n{own}\n" in ada
            assert not left_out or len(own.splitlines()) == 30
            assert region.first.replace("samples", "zeiten") == region.second


class TestHostileCode:
    @pytest.mark.parametrize(
        "spoiler",
        [
            "'''",
            '"""',
            "'",
            "(((((",
            "\x00",
            "\ud800",
            "\\",
            "%%bash\n",
            "!rm x\n",
            "def",
            "é(",
            "# ",
        ],
    )
    def test_code_that_does_not_parse_still_has_fingerprints(self, spoiler: str) -> None:
        code = independent.LAB5_ADA
        copy = code + "\n" + spoiler + "\n"
        assert score(code, copy) >= HIGH

    @pytest.mark.parametrize(
        "unit",
        [
            "(",
            "'",
            '"""',
            "'''\\",
            "\\",
            "a.b = ",
            ", ",
            ",\n" + " " * 50,
            "def f(",
            "f'{",
            "class A:\n",
        ],
    )
    def test_huge_cells_are_bounded_in_time(self, unit: str) -> None:
        huge = unit * (2_000_000 // len(unit))
        start = time.monotonic()
        similar_pairs([Submission("a", "lab", huge), Submission("b", "lab", huge)], {"lab": huge})
        assert time.monotonic() - start < 60  # 1 s on an idle machine

    def test_three_hundred_students_take_seconds(self) -> None:
        reference = notebook("solutions", "05-benchmark")
        dice = random.Random(0)
        group = []
        for index in range(300):
            lines = [line for line in reference.splitlines() if dice.random() > 0.3]
            group.append(Submission(f"s{index}", "lab", "\n".join(lines)))
        start = time.monotonic()
        similar_pairs(group, {"lab": notebook("labs", "05-benchmark")}, at_least=0.3)
        assert time.monotonic() - start < 120  # 3 s on an idle machine

    @unhurried
    @given(st.text(max_size=300))
    def test_any_text_is_code_enough(self, text: str) -> None:
        similar_pairs([Submission("a", "l", text), Submission("b", "l", text * 3)], {"l": text})


class TestReadingNotebooks:
    def test_code_cells_are_joined_and_markdown_is_left_out(self) -> None:
        cells = [
            {"cell_type": "code", "source": ["a = 1\n", "b = 2"]},
            {"cell_type": "markdown", "source": "# no"},
            {"cell_type": "code", "source": "c = 3"},
        ]
        assert code_of(json.dumps({"cells": cells}).encode()) == "a = 1\nb = 2\n\nc = 3"

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"not JSON",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b'{"cells": 5}',
            b'{"cells": [5]}',
            b'{"cells": [{"cell_type": "code"}]}',
            b'{"cells": [{"cell_type": "code", "source": 5}]}',
            b'{"cells": [{"cell_type": "code", "source": [[]]}]}',
            b'{"cells": ' + b"[" * 100_000,
        ],
    )
    def test_what_is_no_notebook_has_no_code(self, data: bytes) -> None:
        assert code_of(data) == ""

    def test_a_huge_notebook_is_cut(self) -> None:
        cells = [{"cell_type": "code", "source": "x" * 1_000_000}] * 50
        assert len(code_of(json.dumps({"cells": cells}).encode())) == 200_000
