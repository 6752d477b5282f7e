"""What docs/instructors.md says is what there is: commands, options, settings, flags, pictures."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image

from trtlab_grader.cli import app
from trtlab_grader.course import Settings

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PACKAGE = ROOT / "grader" / "trtlab_grader"


def commands() -> list[list[str]]:
    """Return the words of every `trtlab-grade` command, in blocks and in the text."""
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(trtlab-grade [^`]+)`", GUIDE)
    return [shlex.split(line)[1:] for line in lines if line.startswith("trtlab-grade ")]


def options(command: str) -> set[str]:
    names = [name for p in COMMANDS[command].params for name in (*p.opts, *p.secondary_opts)]
    return {name for name in names if name.startswith("-")}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_and_its_options_exist(words: list[str]) -> None:
    assert words[0] in COMMANDS
    for word in words[1:]:
        if word.startswith("-"):
            assert word in options(words[0])
    # Parsed as typed, so that values and arguments are checked as well; nothing is run.
    COMMANDS[words[0]].make_context(words[0], list(words[1:]))


def test_the_guide_is_about_every_command_but_the_demonstration() -> None:
    assert {words[0] for words in commands()} == set(COMMANDS) - {"demo"}


def test_an_option_named_in_the_text_is_one_of_some_command() -> None:
    known = set.union(*map(options, COMMANDS))
    text = re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL)
    named = {word for code in re.findall(r"`([^`]+)`", text) for word in code.split()}
    named = {word for word in named if word.startswith("--")}
    assert {"--resume", "--regrade", "--json", "--no-sandbox", "--jobs"} <= named
    assert named <= known


def test_the_table_of_settings_is_that_of_course_toml() -> None:
    (table,) = re.findall(r"<!-- settings -->\n(.*?)<!-- /settings -->", GUIDE, flags=re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", table, flags=re.MULTILINE)
    shown = {name: value.strip('"') for name, value in rows}
    settings = Settings().model_dump()
    expected = {k: v if isinstance(v, str) else f"{v:g}" for k, v in settings.items()}
    assert shown == expected


def test_a_flag_that_is_named_is_one_that_the_grader_raises() -> None:
    section = GUIDE[GUIDE.index("### Flags") : GUIDE.index("## 6.")]
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", section))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert len(named) >= 10
    assert {flag for flag in named if f'"{flag}"' not in sources} == set()


def test_messages_in_the_table_of_troubles_are_in_the_code() -> None:
    section = GUIDE[GUIDE.index("## 15.") :]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # strings that go on in the next line
    for message in re.findall(r"`([^`]*\.\.\.[^`]*)`", section):
        for part in filter(None, (part.strip(" :") for part in message.split("..."))):
            assert part.removeprefix("Not graded: ") in sources, part


def test_links_and_pictures_are_there_and_pictures_are_small() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", GUIDE)
    pictures = [ROOT / "docs" / target for target in targets if target.endswith(".png")]
    assert all((ROOT / "docs" / target).is_file() for target in targets)
    assert 1 <= len(pictures) <= 4
    for picture in pictures:
        assert picture.stat().st_size < 150_000
        with Image.open(picture) as image:
            assert image.width >= 800
    assert set(pictures) == set((ROOT / "docs" / "images").iterdir())


def test_links_within_the_page_lead_somewhere() -> None:
    heads = re.findall(r"^##+ (.+)$", GUIDE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= anchors
