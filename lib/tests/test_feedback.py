"""Tests of the card: what it says, in both forms, and that it obeys no student's text."""

import re
from collections import Counter

import pytest

from made_up_task import finding, verdict
from trtlab import feedback
from trtlab.backend import BADGE
from trtlab.checks import misconceptions
from trtlab.checks.verdict import State, Verdict

HOSTILE = "<script>alert('x')</script> & \"quotes\""


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Verdict:
    """A verdict with markup wherever a text can come from."""
    key = f"hostile-{HOSTILE}"
    known = misconceptions.Misconception(f"title {HOSTILE}", f"explanation {HOSTILE}")
    monkeypatch.setitem(feedback.MISCONCEPTIONS, key, known)
    words = ("criterion", "measured", "required", "margin", "next_step")
    texts = {word: f"{word} {HOSTILE}" for word in words}
    part = finding(misconception=key, **texts)
    return Verdict(task=HOSTILE, title=f"heading {HOSTILE}", findings=(part,))


class TestCards:
    def test_markup_in_a_students_text_is_shown_and_not_obeyed(self, hostile: Verdict) -> None:
        page = feedback.html_card(hostile)
        assert "<script" not in page
        assert '& "' not in page
        # task, title, criterion, measured, required, margin, next step, misconception twice
        assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") == 9

    def test_every_tag_is_closed(self, hostile: Verdict) -> None:
        tags = re.findall(r"<(/?)(\w+)[^>]*>", feedback.html_card(hostile))
        opened = Counter(name for slash, name in tags if not slash and name != "br")
        assert opened == Counter(name for slash, name in tags if slash)

    def test_the_text_says_all_that_the_table_says(self, hostile: Verdict) -> None:
        text = feedback.text_card(hostile)
        for word in (
            "heading", "criterion", "measured", "required", "margin", "next_step", "title",
            "explanation",
        ):  # fmt: skip
            assert f"{word} {HOSTILE}" in text
        assert "0 of 2 points" in text
        assert "not yet" in text

    def test_colours_follow_the_theme_and_have_a_fallback_outside_of_jupyterlab(self) -> None:
        page = feedback.html_card(verdict(finding()))
        used = dict(re.findall(r"var\((--jp-[\w-]+)(,[^)]+\)?)?\)", page))
        assert used.keys() == {
            "--jp-border-color1", "--jp-layout-color1", "--jp-layout-color2", "--jp-ui-font-color1",
        }  # fmt: skip
        assert all(used.values()), "a variable without a fallback"

    def test_no_ink_is_fixed_on_a_themed_ground(self) -> None:
        page = feedback.html_card(verdict(finding()))
        without_badge = re.sub(r'<div style="display:inline-block.*?</div>', "", page)
        inks = re.findall(r"[;\"]color:([^;\"]+)", without_badge)
        # State colours are for the dot; they say nothing that the word beside them does not.
        assert [ink for ink in inks if not ink.startswith(("var(", "#d9534f"))] == []

    @pytest.mark.parametrize(
        ("state", "word"),
        [
            ("pass", "passed"),
            ("inconclusive", "passed (inconclusive)"),
            ("needs a GPU", "graded on a GPU"),
            ("fail", "not yet"),
            ("not started", "not started"),
        ],
    )
    def test_a_state_is_a_word_and_not_only_a_colour(self, state: State, word: str) -> None:
        card = verdict(finding(state=state))
        assert word in feedback.html_card(card)
        assert f"\n{word}, 0 of 2 points" in feedback.text_card(card)

    def test_what_is_empty_leaves_no_line(self) -> None:
        plain = verdict(finding(state="pass", points=2, next_step=""))
        assert "next:" not in feedback.text_card(plain)
        assert "misconception" not in feedback.text_card(plain)
        assert "colspan" not in feedback.html_card(plain)

    @pytest.mark.parametrize("emulated", [True, False])
    def test_the_badge_is_on_both_forms_where_time_is_emulated(
        self, emulated: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feedback, "IS_EMULATED", emulated)
        for text in (
            feedback.html_card(verdict(finding())),
            feedback.text_card(verdict(finding())),
        ):
            assert (BADGE in text) is emulated

    def test_a_card_offers_html_and_text(self) -> None:
        bundle = feedback.Card(verdict(finding()))._repr_mimebundle_()
        assert bundle.keys() == {"text/html", "text/plain"}
        assert bundle["text/html"].startswith('<div class="trtlab-card"')
