"""What is wrong with a built site: links and anchors that lead nowhere, and what the network would be asked for."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
FROM_ELSEWHERE = re.compile(r"@import|url\(\s*['\"]?(?:https?:)?//")


class Page(HTMLParser):
    """Where a page leads, what it loads, and the places in it that can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if LOADED.get(tag) in found:
            self.loads.append(found[LOADED[tag]] or "")


def faults(site: Path) -> list[str]:
    """One line each; the page for addresses that there are not is left out, whose links are those of a server."""
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    return [fault for path, page in sorted(pages.items()) for fault in _of(path, page, pages, site)] + [
        f"{path.relative_to(site)} loads from elsewhere"
        for path in site.rglob("*.css")
        if FROM_ELSEWHERE.search(path.read_text())
    ]


def _of(path: Path, page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    for link in [*page.links, *page.loads]:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https", "mailto", "data") or link.startswith("//"):
            if link in page.loads and parts.scheme != "data":
                yield f"{path.relative_to(site)} loads {link}"
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            yield f"{path.relative_to(site)} links to {link}, which is not there"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
            yield f"{path.relative_to(site)} links to {link}, and there is no such place"
