"""What the build of the site does beside mkdocs: equations as MathML, settings from the code, a last look.

Pages are read without a net: nothing in them may load from another place, and every link has to lead
somewhere.
"""

import re
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fokker.launch import pages

FROM_THE_ROOT = ("changes.md", "contributing.md")
"""Pages that are files of the root, from where their links are."""
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a browser loads by itself."""


def on_config(config: Any) -> Any:
    """Take blocks of code in `math` for equations."""
    fences = config["mdx_configs"].setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "math", "format": _equation})
    return config


def _equation(source: str, *_: Any, **__: Any) -> str:
    from latex2mathml.converter import (
        convert,
    )  # Of the site's own packages: what is below is tested without them.

    return f'<div class="equation">{convert(source.strip(), display="block")}</div>'


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the settings in, and let links of the root's own files lead from here."""
    if page.file.src_uri in FROM_THE_ROOT:
        markdown = markdown.replace("](docs/", "](")
    return pages.expanded(markdown)


def on_post_build(config: Any) -> None:
    """Raise unless all links within the site lead somewhere, and nothing of it is loaded from outside."""
    root = Path(config["site_dir"])
    found = {path: _Page(path) for path in root.rglob("*.html") if path.name != "404.html"}
    problems = [f"{path.name} loads {place}" for path, page in found.items() for place in page.loaded_outside]
    for path, page in found.items():
        for link in page.links:
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            if not target.is_file():
                problems.append(f"{path.name} links to {link.path}, which is not there")
            elif link.fragment and target in found and unquote(link.fragment) not in found[target].names:
                problems.append(f"{path.name} links to {target.name}#{link.fragment}, which is not there")
    for style in root.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]*", style.read_text())
        problems += [f"{style.name} loads {place}" for place in outside]
    if problems:
        raise SystemExit("\n".join(sorted({*problems})))


class _Page(HTMLParser):
    """What a page loads, where it links to, and what can be linked to in it."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.names, self.loaded_outside = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = defaultdict(str, {name: value or "" for name, value in attrs})
        self.names |= {given["id"], given["name"]}
        address = urlsplit(given[LOADED.get(tag, "href")])
        if address.scheme or address.netloc:
            if tag in LOADED and address.scheme != "data" and given["rel"] != "canonical":
                self.loaded_outside.append(address.geturl())
        elif address.path or address.fragment:
            self.links.append(address)
