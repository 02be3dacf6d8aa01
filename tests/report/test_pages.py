"""The folder of pages: complete, escaped, small, and never with a wrong line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from documents import (
    RING,
    error_path,
    large_document,
    make_document,
    small_document,
    trial,
    write_sources,
)
from pages_read import broken_links, read_page

from faultinject.report.outputs import Output
from faultinject.report.pages import LARGEST_PAGE, as_html, page_name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_sources(tmp_path)
    return tmp_path


def page(document: dict[str, Any], root: Path, file: str = "lib/ring.py") -> str:
    content = as_html(document, root)[page_name(file)]
    assert isinstance(content, bytes)
    return content.decode()


def index(document: dict[str, Any], root: Path) -> str:
    content = as_html(document, root)["index.html"]
    assert isinstance(content, bytes)
    return content.decode()


def row(text: str, line: int) -> str:
    """The part of a page that is about one line."""
    found = re.search(rf'<div class="row[^>]*id="L{line}">(.*?)\n</div>\n', text, flags=re.DOTALL)
    assert found, f"no line {line}"
    return found[0]


def test_every_page_is_whole_and_every_link_leads_somewhere(root: Path) -> None:
    Output("html", root / "html").write(small_document(root), root)

    pages = [path.name for path in (root / "html").glob("*.html")]
    assert sorted(pages) == sorted(
        ["index.html", page_name("lib/pool.py"), page_name("lib/ring.py")]
    )
    assert broken_links(root / "html") == []
    for name in pages:
        read = read_page((root / "html" / name).read_bytes())
        assert read.wrong == []
        assert len(set(read.names)) == len(read.names)
        assert set(read.references) <= set(read.names)
        assert read.headings[0] == 1
        assert read.headings.count(1) == 1
        steps = zip(read.headings, read.headings[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps)
        assert {"html", "main", "header", "title"} <= set(read.tags)


def test_nothing_is_loaded_from_elsewhere(root: Path) -> None:
    for name, content in as_html(small_document(root), root).items():
        text = content.decode() if isinstance(content, bytes) else content
        assert not re.search(r"(https?:)?//[a-z]", text.replace("http://www.w3.org", "")), name


def test_a_line_of_an_error_path_has_its_state_in_a_word_and_a_colour(root: Path) -> None:
    text = page(small_document(root), root)

    for line, state, words in (
        (13, "injected", "ran only under injection</span> branch for None, to line 15"),
        (21, "clean", "ran without faults</span> except MemoryError, to line 22"),
        (23, "never", "never ran</span> except OSError, ValueError, to line 24"),
        (25, "undecided", "not known whether it ran</span> finally, on an exception"),
    ):
        assert row(text, line).startswith(f'<div class="row {state}"')
        assert words in row(text, line)
    # A line within a path has its colour as well; of two paths the inner one's.
    assert re.search(r'<div class="row injected"><span class="no">14</span>', text)
    assert re.search(r'<div class="row"><span class="no">16</span>', text)


def test_beside_a_line_are_the_trials_that_struck_it(root: Path) -> None:
    struck = read_page(row(page(small_document(root), root), 12)).text

    assert "3 trials at line 12: 1 leaked 1 propagated 1 recovered" in " ".join(struck.split())
    assert "MemoryError: no slot <&>" in struck  # of the traceback
    assert "left behind: kmalloc of 64 bytes" in struck
    assert "tests/test_ring.py::test_open, hit 3" in struck
    assert "pytest --fail-alloc-replay='1|failslab|lib/ring.py|Ring.open+12.8|3|" in struck
    assert struck.index("leaked failslab") < struck.index("recovered failslab")


def test_a_fault_can_be_followed_to_where_it_ended_and_back(root: Path) -> None:
    text = page(small_document(root), root)

    struck = row(text, 12)
    assert 'caught by except MemoryError at <a href="#L21">line 21</a>' in struck
    assert struck.count("nothing caught the fault: it left the test") == 2
    assert 'entered branch for None at <a href="#L13">line 13</a>' in struck
    assert '<a href="#L12">line 12</a> (3 trials)' in text
    assert "out of the test (2 trials)" in text


def test_the_picture_has_a_curve_from_each_call_site_to_each_end(root: Path) -> None:
    text = page(small_document(root), root)

    picture = text[text.index('<svg class="picture"') : text.index("</figure>")]
    assert re.findall(r'<path class="(\w+)"', picture) == ["clean", "left"]
    assert "2 links from 1 call site to 2 ends" in picture
    assert '<a href="#L12"><title>lib/ring.py:12 Ring.open</title>' in picture
    assert "21 except MemoryError in Ring.resize</text></a>" in picture
    assert "out of the test</text>" in picture


def test_a_picture_of_a_report_that_does_not_know_the_ends_has_what_was_entered(
    root: Path,
) -> None:
    document = small_document(root)
    for test in document["tests"]:
        for item in test["trials"]:
            item.pop("caught", None)

    text = page(document, root)

    assert re.findall(r'<path class="(\w+)"', text) == ["injected", "clean"]


def test_a_path_that_was_entered_from_another_file_links_to_it(root: Path) -> None:
    far = trial(file="lib/pool.py", line=5, function="page")
    paths = [error_path(13, 15, "none-branch", "injected", entered_by=[far["replay"]])]
    document = make_document({"t.py::a": [far]}, {"lib/ring.py": paths}, root=root)

    ring, pool = page(document, root), page(document, root, "lib/pool.py")

    assert f'<a href="{page_name("lib/pool.py")}#L5">lib/pool.py:5</a>' in ring
    assert f'href="{page_name("lib/ring.py")}#L13"' in pool
    assert '<svg class="picture"' in ring
    assert '<svg class="picture"' in pool


def test_paths_that_nothing_can_enter_are_listed_apart(root: Path) -> None:
    document = small_document(root)
    document["error_paths"]["files"][1]["paths"][3]["unreachable"] = True

    text = page(document, root)

    apart = text.index("No call site that was reached can enter these")
    assert text.index('<a href="#L23">23-24</a>') > apart
    assert text.index('<a href="#L29">29</a>') < apart


def test_everything_that_a_report_says_is_escaped(root: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    (root / "evil.py").write_text(f"x = '{evil}'  # \u202e \x00\n", encoding="utf-8")
    odd = trial(
        "failed", file="evil.py", line=1, function=evil, capability=evil, error=evil,
        leaks=[evil], details=[evil], traceback=evil, replay=evil, caller=evil, domain=evil,
    )  # fmt: skip
    paths = [error_path(1, 1, "except", "never", function=evil, types=[evil], entered_by=[evil])]
    document = make_document({evil: [odd]}, {"evil.py": paths, evil: paths}, python=evil)
    document["tests"][0].update(notes=[evil], baseline=evil)
    document["faultinject"] = evil

    for name, content in as_html(document, root).items():
        if name.endswith(".html"):
            text = content.decode() if isinstance(content, bytes) else content
            assert "<script>" not in text
            assert "\u202e" not in text
            assert "\x00" not in text
            assert read_page(text).wrong == []
            assert read_page(text).tags.count("script") == 1


def test_the_source_is_what_the_file_says_line_by_line(root: Path) -> None:
    text = page(small_document(root), root)

    lines = re.findall(r'<span class="no">(\d+)</span><code>(.*?)</code>', text)
    assert [int(number) for number, _ in lines] == list(range(1, RING.count("\n") + 1))
    assert "\n".join(read_page(line).text for _, line in lines) == RING.removesuffix("\n")
    assert '<i class="k">except</i>' in text


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfx = 1\r\ny = 2\r\n", b"# coding: latin-1\nx = '\xe4'\n", b"def (:\n  \xff\n"],
    ids=["mark and line ends", "another encoding", "neither parses nor decodes"],
)
def test_any_file_can_be_shown(root: Path, content: bytes) -> None:
    (root / "odd.py").write_bytes(content)
    document = make_document({"t.py::a": [trial(file="odd.py", line=2)]}, root=root)

    text = page(document, root, "odd.py")

    assert text.count('<span class="no">') == 2
    assert "\ufeff" not in text


def test_a_source_that_changed_since_the_run_is_not_shown_and_that_is_said(root: Path) -> None:
    document = small_document(root)
    (root / "lib" / "ring.py").write_text("# one line more\n" + RING)

    text = page(document, root)

    assert "The source has changed since the run" in text
    assert "A ring of buffers" not in text
    assert "1 leaked" in row(text, 12)  # the trials are there all the same
    assert "changed" not in page(document, root, "lib/pool.py")


def test_a_file_that_ends_before_a_line_of_the_report_has_changed(root: Path) -> None:
    document = small_document()  # nobody noted what the sources were like
    (root / "lib" / "ring.py").write_text("import faultinject\n")

    assert "The source has changed since the run" in page(document, root)
    assert "it may have changed" in page(document, root, "lib/pool.py")


def test_a_source_that_is_not_there_leaves_a_page_without_it(tmp_path: Path) -> None:
    text = page(small_document(), tmp_path)

    assert "could not be read" in text
    assert "--root=DIR" in text
    assert "1 leaked" in row(text, 12)


def test_a_report_from_elsewhere_cannot_have_a_file_of_this_machine_published(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("home") / "secret.py"
    secret.write_text("password = 1\n")
    up = f"../{secret.parent.name}/secret.py"
    trials = [trial(file=str(secret), line=1), trial(file=up, line=1, hit=2)]

    pages = as_html(make_document({"t.py::a": trials}), root)

    assert not any(b"password" in content for content in map(as_bytes, pages.values()))


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_the_index_has_a_row_for_each_file_those_to_look_at_first(root: Path) -> None:
    document = small_document(root)
    document["tests"][0]["notes"] = ["a note"]
    document["tests"][1]["baseline"] = "failed without a fault"

    text = index(document, root)
    read = " ".join(read_page(text).text.split())

    assert re.findall(r'data-name="(\S+)" data-never="(\d)" data-bad="(\d)"', text) == [
        ("lib/ring.py", "3", "1"),
        ("lib/pool.py", "0", "1"),
    ]
    assert "Error paths reached57%4 of 7" in read
    assert "a note" in read
    assert "failed without a fault" in read
    assert "leaked failslab fault at lib/ring.py:12 in Ring.open" in read


def test_an_empty_report_has_an_index(tmp_path: Path) -> None:
    files = as_html(make_document({}, {}), tmp_path)

    assert set(files) == {"index.html", "report.css", "report.js"}
    assert "No file has an error path" in read_page(files["index.html"]).text


def test_names_of_pages_are_plain_and_differ_where_files_do() -> None:
    files = ["a/b.py", "a_b.py", "<string>", "ä" * 300 + ".py", "../a/b.py", "a\udc80.py", ""]

    names = [page_name(file) for file in files]

    assert len(set(names)) == len(files)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}\.html", name) for name in names)


def test_no_page_of_a_large_campaign_is_large(tmp_path: Path) -> None:
    document = large_document(tmp_path, files=300, trials=5000, lines=70)

    files = as_html(document, tmp_path)

    assert len(files) == 303
    assert max(map(len, files.values())) < LARGEST_PAGE


def test_a_page_that_would_be_large_is_shortened_and_says_so(tmp_path: Path) -> None:
    document = large_document(tmp_path, files=1, trials=4000, lines=3500)

    text = page(document, tmp_path, "pkg/module_0.py")

    assert len(text.encode()) < LARGEST_PAGE
    assert "Shortened to keep this page below 1 MB" in text
    assert read_page(text).wrong == []


def test_a_file_that_ten_thousand_trials_struck_still_has_a_small_page(root: Path) -> None:
    trials = [
        trial("failed", hit=hit, error=f"AssertionError: {hit}", traceback="x" * 2000)
        for hit in range(10_000)
    ]

    text = page(make_document({"t.py::a": trials}, root=root), root)

    assert len(text.encode()) < LARGEST_PAGE
    assert "other outcomes not shown" in text


def test_alike_trials_come_together(root: Path) -> None:
    trials = [trial("failed", hit=hit, error="AssertionError") for hit in range(1, 4)]

    struck = row(page(make_document({"t.py::a": trials}, root=root), root), 12)

    assert struck.count("AssertionError") == 1
    assert struck.count("--fail-alloc-replay=") == 3
