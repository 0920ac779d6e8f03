"""The last look of the site's build: links that lead nowhere, and what pages would load from elsewhere."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks() -> Any:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def site(folder: Path, body: str, style: str = "") -> dict[str, str]:
    (folder / "in").mkdir()
    (folder / "index.html").write_text(body)
    (folder / "in" / "other.html").write_text('<h2 id="there">There</h2><a href="../index.html">back</a>')
    (folder / "site.css").write_text(style)
    return {"site_dir": str(folder)}


def test_a_site_of_which_all_is_there(hooks: Any, tmp_path: Path):
    body = (
        '<a href="in/other.html#there">in</a> <a href="https://arxiv.org/abs/2506.17139">out</a>'
        '<a href="#here">here</a><p id="here"></p><img src="data:image/png;base64,AA==">'
        '<script src="site.css"></script>'
    )
    hooks.on_post_build(site(tmp_path, body, "a { background: url(data:image/svg+xml;utf8,x) }"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="gone.html">', r"index\.html links to gone\.html, which is not there"),
        ('<a href="in/other.html#gone">', r"links to other\.html#gone, which is not there"),
        ('<a href="#gone">', r"links to index\.html#gone"),
        ('<img src="gone.png">', r"links to gone\.png"),
        ('<script src="https://cdn.example/x.js"></script>', r"index\.html loads https://cdn\.example/x\.js"),
        ('<link rel="stylesheet" href="//fonts.example/css">', r"loads //fonts\.example/css"),
        ('<img src="http://example.org/badge.svg">', r"loads http://example\.org/badge\.svg"),
    ],
)
def test_what_is_not_there_or_comes_from_elsewhere_ends_the_build(
    hooks: Any, tmp_path: Path, body: str, said: str
):
    with pytest.raises(SystemExit, match=said):
        hooks.on_post_build(site(tmp_path, body))


def test_styles_load_nothing_either(hooks: Any, tmp_path: Path):
    with pytest.raises(SystemExit, match=r"site\.css loads @import 'https://fonts"):
        hooks.on_post_build(site(tmp_path, "<p>", "@import 'https://fonts.example/x.css';"))


def test_pages_get_the_settings_and_links_of_the_root_lead_from_here(hooks: Any):
    def made(text: str, name: str) -> str:
        return hooks.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=name)))

    assert "--train.batch-size" in made("<!-- settings -->", "settings.md")
    assert made("[a](docs/faults.md)", "changes.md") == "[a](faults.md)"
    assert made("[a](docs/faults.md)", "start.md") == "[a](docs/faults.md)"
