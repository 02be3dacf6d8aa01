"""The pages in a real browser: wide and narrow, light and dark, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import FOUND, WHY_NOT, Browser
from documents import large_document, small_document, trial, write_sources

from faultinject.report.outputs import Output
from faultinject.report.pages import page_name

pytestmark = pytest.mark.skipif(FOUND is None, reason=WHY_NOT)

RING = page_name("lib/ring.py")
PAGES = ["index.html", RING]

# Every text and what it stands on, by WCAG's formula: 4.5 to 1 at least, 3 to 1 where large.
CONTRAST = """
(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const weak = [];
  let seen = 0;
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.getClientRects().length) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const inside = element.closest("svg");
    const [a, b] = [light(parts(inside ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const least = Number.parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if (ratio < least) weak.push(`${walk.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return { seen, weak };
})()
"""

# What sticks out to the right, but for what is in a part that scrolls by itself.
OVERFLOW = """
[...document.body.querySelectorAll("*")].filter((element) =>
  element.getBoundingClientRect().right > document.documentElement.clientWidth + 1
  && !element.closest(".scroll, thead, .vh, .skip"))
  .map((element) => element.outerHTML.slice(0, 80))
"""

# The files that are seen.
ROWS = """
[...document.querySelectorAll("#file-table tbody tr")]
  .filter((row) => row.getClientRects().length).map((row) => row.dataset.name)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_sources(root)
    document = small_document(root)
    # Long names are what breaks a narrow page.
    test = "tests/test_" + "very_" * 40 + "long.py::test_it"
    far = trial("failed", test=test, error="E" * 300, leaks=["a/b" * 80], function="f" * 300)
    document["tests"][0]["trials"].append(far)
    Output("html", root / "html").write(document, root)
    return root / "html"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of a report about twelve files."""
    root = tmp_path_factory.mktemp("many")
    document = large_document(root, files=12, trials=40, lines=70)
    for path in document["error_paths"]["files"][3]["paths"]:
        path["reached"] = "clean"
    Output("html", root / "html").write(document, root)
    return root / "html" / "index.html"


@pytest.fixture(autouse=True)
def nothing_to_complain_about(browser: Browser) -> Iterator[None]:
    browser.complaints.clear()
    yield
    assert browser.complaints == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_fits_its_window_and_every_word_can_be_read(
    browser: Browser, folder: Path, name: str, width: int, dark: bool
) -> None:
    browser.show(folder / name, width=width, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")

    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOW) == []
    contrast = browser.evaluate(CONTRAST)
    assert contrast["seen"] > 50
    assert contrast["weak"] == []
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark
    assert browser.picture().startswith(b"\x89PNG")


def test_beside_a_line_when_there_is_room_and_below_it_when_there_is_none(
    browser: Browser, folder: Path
) -> None:
    places = (
        "(() => { const row = document.querySelector('#L12');"
        "const [a, b] = [row.querySelector('code'), row.querySelector('.aside')]"
        ".map(e => e.getBoundingClientRect());"
        "return [b.left >= a.right - 1, b.top >= a.bottom - 1]; })()"
    )

    browser.show(folder / RING, width=1280)
    assert browser.evaluate(places) == [True, False]
    browser.show(folder / RING, width=400)
    assert browser.evaluate(places) == [False, True]


def type_name(browser: Browser, text: str) -> None:
    browser.evaluate("document.querySelector('#filter-name').select()")
    browser.command("Input.insertText", text=text)


@pytest.mark.parametrize("width", [1280, 400])
def test_files_are_filtered_by_name(browser: Browser, many: Path, width: int) -> None:
    browser.show(many, width=width)
    assert len(browser.evaluate(ROWS)) == 12

    type_name(browser, "PKG module_1")

    shown = sorted(browser.evaluate(ROWS))
    assert shown == ["pkg/module_1.py", "pkg/module_10.py", "pkg/module_11.py"]
    count = browser.evaluate("document.querySelector('#filter-count').textContent")
    assert count == "3 of 12 files"


def test_files_are_filtered_by_what_is_wrong_with_them(browser: Browser, many: Path) -> None:
    browser.show(many)

    browser.evaluate("document.querySelector('#filter-never').click()")
    never = browser.evaluate(ROWS)
    browser.evaluate("document.querySelector('#filter-bad').click()")
    both = browser.evaluate(ROWS)

    assert len(never) == 11
    assert "pkg/module_3.py" not in never
    assert 0 < len(both) < 11


def test_a_column_sorts_its_files_and_says_how(browser: Browser, many: Path) -> None:
    browser.show(many, width=1280)
    trials = "[...document.querySelectorAll('td[data-label=trials]')].map(d => +d.textContent)"
    heading = "[...document.querySelectorAll('th')].find(th => th.textContent.includes('Trials'))"

    browser.evaluate(f"{heading}.querySelector('button').click()")
    down = browser.evaluate(trials)
    browser.evaluate(f"{heading}.querySelector('button').click()")
    up = browser.evaluate(trials)

    assert down == sorted(down, reverse=True) != up
    assert up == sorted(up)
    assert browser.evaluate(f"{heading}.getAttribute('aria-sort')") == "ascending"
    assert browser.evaluate("document.querySelectorAll('[aria-sort]').length") == 1


def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    browser: Browser, folder: Path
) -> None:
    browser.show(folder / RING)
    reached = []
    for _ in range(60):
        browser.press("Tab")
        reached.append(
            browser.evaluate(
                "(() => { const e = document.activeElement;"
                "const shown = getComputedStyle(e).outlineStyle !== 'none' || e.matches('.skip');"
                "return [e.tagName.toLowerCase(), shown]; })()"
            )
        )
        if reached[-1][0] == "body":
            break

    names = {name for name, _ in reached}
    assert names >= {"a", "summary", "button", "div"}  # a div: the picture, which scrolls
    assert [name for name, visible in reached if not visible and name != "body"] == []
    assert reached[-1][0] == "body", "the page has more stops than anybody would press"


def test_the_first_stop_is_a_link_that_skips_to_the_content(browser: Browser, folder: Path) -> None:
    browser.show(folder / "index.html")

    browser.press("Tab")
    text, top = browser.evaluate(
        "[document.activeElement.textContent, document.activeElement.getBoundingClientRect().width]"
    )
    browser.press("Enter")

    assert text == "Skip to the content"
    assert top > 50  # it is seen while it has the focus
    assert browser.evaluate("location.hash") == "#main"


def test_trials_open_by_a_link_to_their_line_and_all_together(
    browser: Browser, folder: Path
) -> None:
    is_open = "document.querySelector('#L12 details').open"

    browser.show(folder / RING)
    before = browser.evaluate(is_open)
    browser.show(folder / RING, at="#L12")
    by_link = browser.evaluate(is_open)
    browser.evaluate("document.querySelector('#close-all').click()")
    closed = browser.evaluate(is_open)
    browser.evaluate("document.querySelector('#open-all').click()")

    assert (before, by_link, closed) == (False, True, False)
    assert browser.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")


def test_links_between_the_pages_can_be_followed(browser: Browser, folder: Path) -> None:
    browser.show(folder / "index.html")

    browser.follow("document.querySelector('#file-table a[href^=\"lib_ring\"]').click()")

    assert browser.evaluate("document.querySelector('h1').textContent") == "lib/ring.py"


def test_without_the_script_everything_is_there_and_nothing_is_dead(
    browser: Browser, folder: Path
) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.show(folder / "index.html")
        index = browser.evaluate("document.body.innerText")
        form = browser.evaluate("document.querySelector('#filter').getClientRects().length")
        browser.show(folder / RING)
        tools = browser.evaluate("document.querySelector('#page-tools').getClientRects().length")
        source = browser.evaluate("document.body.innerText")
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)

    assert "lib/ring.py" in index
    assert "class Ring:" in source
    assert "1 leaked" in source
    assert (form, tools) == (0, 0)
