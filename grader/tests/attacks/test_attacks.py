"""Every attack ends with the points that it deserves, a flag where it shows, and no harm."""

import pytest

from attacks import file_attacks, kernel_attacks, limit_attacks, mark_attacks, solution_attacks
from attacks.table import ROWS, Attack, perform
from trtlab.backend import IS_EMULATED
from trtlab_grader.course import Course

FAMILIES = (kernel_attacks, solution_attacks, file_attacks, limit_attacks, mark_attacks)
FEWEST = 40
ELSEWHERE = {"network", "pages"}
"""Rows with tests of their own, in test_network_attacks.py and test_page_attacks.py."""

ALL: list[Attack] = [attack for family in FAMILIES for attack in family.ATTACKS]


@pytest.mark.usefixtures("needs_sandbox")
@pytest.mark.skipif(not IS_EMULATED, reason="the points are those on the emulation")
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(
            attack,
            id=attack.name.replace(" ", "-"),
            marks=() if attack.quick else pytest.mark.attacks,
        )
        for attack in ALL
    ],
)
def test_it_ends_with_what_it_deserves(classroom: Course, attack: Attack) -> None:
    perform(classroom, attack)


def test_there_are_as_many_attacks_as_promised() -> None:
    assert len({attack.name for attack in ALL}) == len(ALL) >= FEWEST


def test_every_row_of_the_cheat_table_is_tried() -> None:
    assert {attack.row for attack in ALL} | ELSEWHERE == set(ROWS)
