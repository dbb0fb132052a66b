"""What of the site is made from the code when it is built: a hook of mkdocs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import api
import chooser
import objectives
import reference
import rooms
from fedkd.strategies.catalogue import page as methods
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]


def on_startup(**_: object) -> None:
    """Show the packages where mkdocstrings looks, which it does when it is configured."""
    api.link(ROOT)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the API into the menu."""
    menu = [{room: f"api/{room}.md"} for room in api.ROOMS]
    assert config.nav is not None
    config.nav = [{"API": menu} if item == {"API": "api/"} else item for item in config.nav]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for name, text in _pages():
        files.append(File.generated(config, name, content=text))
    for picture in sorted((ROOT / "experiments/figures").glob("*.png")):
        name = f"figures/{picture.name}"
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Draw the map of the rooms where a page asks for it; find pictures where the site has them."""
    drawing = rooms.drawn(rooms.table(ROOT / "CONTRIBUTING.md"), api.ROOMS)
    markdown = markdown.replace("<!-- the rooms -->", drawing)
    return markdown.replace("../experiments/figures/", "figures/")


def _pages() -> Iterator[tuple[str, str]]:
    for room in api.ROOMS:
        yield f"api/{room}.md", api.page(room)
    yield "reference/keys.md", reference.keys()
    yield "reference/plugins.md", reference.plugins()
    yield "reference/objectives.md", objectives.page()
    yield "reference/commands.md", reference.commands()
    yield "strategies.md", "---\nhide: [navigation, toc]\n---\n\n" + _linked(methods())
    yield "chooser.md", _linked(chooser.page())
    there = next(
        part for part in _read("README.md").split("\n## ") if part.startswith("What is there")
    )
    yield "methods.md", _linked(f"# {there}")
    yield "tutorial.md", _notebook("docs/tutorial.ipynb")
    yield "benchmarks.md", _linked(_read("experiments/benchmarks/README.md"))
    yield "contributing.md", _read("CONTRIBUTING.md")
    yield "changes.md", _read("CHANGELOG.md")


def _linked(text: str) -> str:
    """Have links to files of the repository lead to where the site has them."""
    text = text.replace("](docs/", "](").replace("](../figures/", "](figures/")
    text = text.replace("](strategies/README.md)", "](strategies.md)")
    text = text.replace("](experiments/conf/experiment)", "](presets.md)")
    page = r"](api/strategies.md#fedkd.strategies.\1)"
    return re.sub(r"\]\((?:strategies/)?(\w+)\.py\)", page, text)


def _notebook(name: str) -> str:
    """Return a notebook's texts and code as a page, with a link to itself."""
    cells = json.loads(_read(name))["cells"]
    parts = [(cell["cell_type"] == "code", "".join(cell["source"])) for cell in cells]
    texts = [f"```python\n{text}\n```" if is_code else text for is_code, text in parts]
    title, *rest = texts
    return "\n\n".join([title, f"[As a notebook]({Path(name).name})", *rest])


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
