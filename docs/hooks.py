"""What the build of the site does beside mkdocs: equations as MathML, settings from the code, notebooks
carried out, a last look.

Pages are read without a net: nothing in them may load from another place, and every link has to lead
somewhere.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
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


def on_files(files: Any, config: Any) -> Any:
    """Carry out the notebooks, each beside copies of its files, and make pages of what they show."""
    from mkdocs.structure.files import File

    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        source, folder = Path(file.abs_src_path), Path(file.src_uri).parent
        with TemporaryDirectory() as copy:
            shutil.copytree(source.parent, copy, dirs_exist_ok=True)
            made = carried_out(Path(copy, source.name))
        for name, content in made.items():
            files.append(File.generated(config, str(folder / name), content=content))
    return files


def carried_out(path: Path) -> Mapping[str, str | bytes]:
    """The page of a notebook with what its cells show, and its pictures.

    Raises nbclient's CellExecutionError where a cell fails, and ValueError where one warns.
    """
    import nbclient
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    notebook = nbformat.read(path, 4)
    beside = {"metadata": {"path": str(path.parent)}}
    # By sockets beside it: over TCP the kernel warns that all can read it.
    local = Config({"KernelManager": {"transport": "ipc", "ip": str(path.with_suffix(""))}})
    nbclient.NotebookClient(
        notebook, timeout=900, coalesce_streams=True, resources=beside, config=local
    ).execute()
    for cell in notebook.cells:
        errors = [output for output in cell.get("outputs", []) if output.get("name") == "stderr"]
        if any("Warning" in output["text"] for output in errors):
            raise ValueError(f"{path.name} warns: {errors}")
        for output in errors:  # XLA's alarm of a machine that compiles slowly.
            cell.outputs.remove(output)
    page, resources = MarkdownExporter().from_notebook_node(notebook, {"output_files_dir": path.stem})
    page = page.replace("![png](", "![What the cell above draws](")
    title, rest = page.lstrip().split("\n", 1)
    here = f"[{path.name}]({path.name}), carried out when this site was built, is a Jupyter notebook."
    return {f"{path.stem}.md": f"{title}\n\n{here}\n{rest}", **resources["outputs"]}


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
