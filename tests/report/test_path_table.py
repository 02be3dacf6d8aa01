"""The table of error paths, its numbers, and the threshold."""

import pytest
from documents import error_path, make_document, small_document

from faultinject.report.counts import PathCounts
from faultinject.report.findings import Findings
from faultinject.report.table import path_table, shortfall, total_line


def states(**counts: int) -> Findings:
    paths = [
        error_path(number, number, "except", state)
        for state, count in counts.items()
        for number in range(1, count + 1)
    ]
    return Findings.of(make_document({}, {"a.py": paths}))


def test_the_table_has_a_line_for_each_file_and_a_total() -> None:
    table = path_table(Findings.of(small_document()))

    assert table == [
        "error paths   paths   clean   injected   never   undecided      %",
        "-----------------------------------------------------------------",
        "lib/pool.py       1       0          1       0           0   100%",
        "lib/ring.py       6       1          2       3           1    50%",
        "-----------------------------------------------------------------",
        "TOTAL             7       1          3       3           1    57%",
    ]


def test_the_longer_table_names_the_lines_that_were_never_reached() -> None:
    table = path_table(Findings.of(small_document()), missing=True)

    assert table[0].endswith("%   never reached")
    assert table[2].endswith("100%")
    assert table[3].endswith("50%   23-24, 24, 29")


def test_a_run_in_which_everything_is_decided_has_no_column_for_the_rest() -> None:
    assert "undecided" not in path_table(states(clean=1, never=1))[0]


def test_a_file_whose_error_paths_are_not_known_is_named_with_the_reason() -> None:
    document = make_document({}, {"bad.py": []})
    document["error_paths"]["files"][0]["unreadable"] = "does not parse: invalid syntax"

    assert path_table(Findings.of(document)) == [
        "bad.py: error paths not known: does not parse: invalid syntax"
    ]


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"clean": 1, "injected": 1, "never": 1}, "67%"),
        ({"clean": 999, "never": 1}, "99%"),
        ({"clean": 1, "never": 999}, "1%"),
        ({"never": 1}, "0%"),
        ({"injected": 3}, "100%"),
        ({"undecided": 5}, "100%"),
        ({}, "100%"),
    ],
)
def test_0_and_100_percent_are_shown_only_where_they_are_exact(
    counts: dict[str, int], shown: str
) -> None:
    found = PathCounts.of(states(**counts).paths)

    assert found.shown_percent == shown
    assert found.clean + found.injected + found.never == found.total


def test_the_total_is_told_in_one_sentence() -> None:
    assert total_line(Findings.of(small_document())) == (
        "7 error paths: 1 clean, 3 injected, 3 never, 1 undecided (57% reached)"
    )
    assert total_line(states(never=1)).startswith("1 error path: ")
    assert total_line(states()) == "no error paths in the code under test"


def test_the_threshold_is_met_at_exactly_its_value() -> None:
    found = states(clean=1, injected=1, never=1)  # two thirds

    assert shortfall(found, None) is None
    assert shortfall(found, 66.66) is None
    assert shortfall(states(clean=1, never=1), 50) is None
    assert shortfall(found, 66.67) == ("error paths: 66.67% reached (2 of 3), 66.67% are required")
    assert shortfall(states(), 100) is None


def test_a_threshold_is_not_met_by_a_report_that_does_not_know() -> None:
    said = shortfall(Findings.of(make_document({})), 0)

    assert said == "the report has no error paths: 0% of them are required"
