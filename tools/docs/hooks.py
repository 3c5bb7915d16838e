"""What mkdocs asks while it builds the site: pages that code knows better than any text are made here, never stored."""

import re
from pathlib import Path

import cards
import links
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from sclip_seg.choices import choices

ROOT = Path(__file__).parents[2]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The made pages have their places in the navigation."""
    _section(config, "Methods").extend({name: f"methods/{name}.md"} for name in _methods())
    _section(config, "Reference").extend({title: f"reference/{name}.md"} for name, title in reference.PAGES.items())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The made pages themselves."""
    made = {f"methods/{name}.md": cards.card(name) for name in _methods()}
    made |= {f"reference/{name}.md": text for name, text in reference.pages().items()}
    benchmarks = (ROOT / "data" / "README.md").read_text().removeprefix("# data/")
    made["data.md"] = "# The benchmarks" + benchmarks.replace("](../docs/", "](")
    made["changes.md"] = (ROOT / "CHANGELOG.md").read_text()
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_) -> str:
    """The table of the methods leads to their cards, which are there once the site is."""
    if page.file.src_uri != "methods/index.md":
        return markdown
    return re.sub(r"^\| `(\w+)` \|", r"| [`\1`](\1.md) |", markdown, flags=re.MULTILINE)


def on_post_build(config: MkDocsConfig) -> None:
    """A link that leads nowhere, or a page that asks the network for something, ends the build."""
    found = links.faults(Path(config.site_dir).resolve())
    if found:
        raise PluginError("\n".join(found))


def _methods() -> list[str]:
    return choices(ROOT / "configs")["method"]


def _section(config: MkDocsConfig, title: str) -> list:
    return next(part[title] for part in config.nav if title in part)
