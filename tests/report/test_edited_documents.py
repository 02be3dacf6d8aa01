"""A report that was cut or edited is rendered or refused, in every form, and never a crash."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

from documents import small_document
from hypothesis import given, settings
from hypothesis import strategies as st

from faultinject.errors import UsageError
from faultinject.report.as_coverage import as_lcov
from faultinject.report.as_markdown import as_markdown
from faultinject.report.as_sarif import as_sarif
from faultinject.report.as_text import as_text
from faultinject.report.findings import Findings
from faultinject.report.github import annotate
from faultinject.report.merge import merge
from faultinject.report.pages import as_html
from faultinject.report.reading import read_report

WHOLE = small_document()
ODD: st.SearchStrategy[object] = st.sampled_from(
    [None, True, -1, 0, 10**30, 1.5, "", "x", "\udc80\x00", [], {}, [[]], {"a": 1}, ["x"]]
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path to a value inside a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [place for key in value for place in places(value[key], (*path, key))]
    if isinstance(value, list):
        found += [place for key, item in enumerate(value) for place in places(item, (*path, key))]
    return found


def render(document: dict[str, Any]) -> None:
    as_text(document, everything=True, missing=True)
    as_html(document, Path("absent"))
    findings = Findings.of(document)
    as_sarif(findings, Path("absent"))
    as_markdown(findings)
    list(annotate(findings))
    if any(path.reached != "undecided" for path in findings.paths):
        as_lcov(findings, Path("absent"))
    render_merged = merge([document, copy.deepcopy(document)], ["a", "b"])
    as_text(render_merged)


def test_the_whole_document_is_rendered() -> None:
    render(WHOLE)


@settings(deadline=None, max_examples=80)
@given(place=st.sampled_from(places(WHOLE)), value=ODD)
def test_an_edited_document_is_rendered_or_refused(place: tuple[Any, ...], value: object) -> None:
    document = copy.deepcopy(WHOLE)
    inner: Any = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value

    try:
        again = read_report(io.StringIO(json.dumps(document)), "report.json")
    except UsageError:
        return

    render(again)


@settings(deadline=None, max_examples=40)
@given(place=st.sampled_from([place for place in places(WHOLE) if isinstance(place[-1], str)]))
def test_a_document_with_a_part_missing_is_rendered_or_refused(place: tuple[Any, ...]) -> None:
    document = copy.deepcopy(WHOLE)
    inner: Any = document
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]

    try:
        again = read_report(io.StringIO(json.dumps(document)), "report.json")
    except UsageError:
        return

    render(again)
