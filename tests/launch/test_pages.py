"""Pages of the documentation: what the site, the terminal and the package have are the same."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

import fokker
from fokker.launch import pages
from fokker.launch.cli import COMMANDS

ROOT = Path(__file__).parents[2]


def listed(part: object) -> list[str]:
    """Files of a site's navigation."""
    if isinstance(part, str):
        return [part]
    parts = part.values() if isinstance(part, dict) else part
    return [file for inner in parts for file in listed(inner)]  # type: ignore[attr-defined]


def test_topics_are_the_pages_of_the_site_in_its_order():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    topics = [Path(file) for file in listed(config["nav"])]
    made = [page.with_suffix(".ipynb") for page in topics if page.parent.name]
    assert [page.stem for page in topics if not page.parent.name] == ["index", *pages.TOPICS]
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} == {"index", *pages.TOPICS}
    assert {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.ipynb")} == {*made}


@pytest.mark.parametrize("topic", ["index", *pages.TOPICS])
def test_a_page_has_one_title(topic: str):
    text = re.sub(r"^```.*?^```$", "", pages.source(topic), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^# .*", text, re.MULTILINE) == [f"# {pages.title(topic)}"]


def test_the_terminal_is_shown_no_marks_of_the_site():
    for topic in set(pages.TOPICS) - {"settings", "api"}:
        text = pages.for_terminal(topic)
        assert not re.search(r"<!--|^!\[|\.md[#)]", text, re.MULTILINE), topic


def test_links_name_the_topic_that_shows_their_page():
    assert "all of them (`fokker help settings`)" in pages.for_terminal("training")
    assert "docs/campaigns.md (`fokker help campaigns`)" in pages.for_terminal("changes"), "from the root"
    assert "(`fokker help tables`)" in pages.for_terminal("molecules"), "with an anchor"


def test_the_page_on_python_has_all_that_is_public():
    named = re.findall(r"^::: fokker\.(\w+)$", pages.source("api"), re.MULTILINE)
    assert sorted(named) == sorted(name for name in fokker.__all__ if name != "__version__")
    text = pages.for_terminal("api")
    assert ":::" not in text
    for name in named:
        assert f"### fokker.{name}\n" in text
        assert (inspect.getdoc(getattr(fokker, name)) or "").partition("\n")[0] in text
    assert "**energy_and_forces**" in text
    assert "**topology**" in text, "a cached property"


def test_commands_that_pages_show_are_there():
    """First words after `fokker` at the start of a line, or in a table's first column."""
    firsts = {name.split()[0] for name in COMMANDS}
    for topic in ("index", *pages.TOPICS):
        shown = re.findall(r"^(?:\| `|\$ |\.venv/bin/)?fokker ([a-z]+)\b", pages.source(topic), re.MULTILINE)
        assert {*shown} <= firsts, topic
