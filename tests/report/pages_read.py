"""Reading pages without a browser: elements, links, names, and whether tags are balanced.

Not here: any test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "br", "input", "hr", "img"}
# Of SVG; written with a slash.
EMPTY = {"rect", "circle", "path"}


@dataclass
class PageRead(HTMLParser):
    """What is on one page."""

    names: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.names.append(given["id"])
        if tag in ("a", "link") and not given.get("href", "").startswith("data:"):
            self.links.append(given["href"])
        if "src" in given:
            self.links.append(given["src"])
        for name in ("aria-labelledby", "for"):
            self.references += given.get(name, "").split()
        self.wrong += [f"{tag} {name}" for name in given if name == "style" or name[:2] == "on"]
        if tag[0] == "h" and tag[1:].isdigit():
            self.headings.append(int(tag[1:]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()
            if tag not in EMPTY:
                self.wrong.append(f"{tag} is no element that ends itself")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> ends nothing (line {self.getpos()[0]})")

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        self.wrong += [f"<{tag}> does not end" for tag in self._open]


def read_page(content: str | bytes) -> PageRead:
    """Read one page."""
    page = PageRead()
    page.feed(content.decode("utf-8") if isinstance(content, bytes) else content)
    page.close()
    return page


def broken_links(folder: Path) -> list[str]:
    """Name the links of a folder's pages that lead nowhere."""
    pages = {path.name: read_page(path.read_bytes()) for path in folder.glob("*.html")}
    broken = []
    for name, page in pages.items():
        for link in page.links:
            target, _, fragment = link.partition("#")
            target = target or name
            if target not in pages:
                if not (folder / target).is_file():
                    broken.append(f"{name}: {link}")
            elif fragment and fragment not in pages[target].names:
                broken.append(f"{name}: {link}")
    return broken
