"""The error paths of examples/, counted by hand. A new example is counted here, too."""

from __future__ import annotations

from pathlib import Path

from faultinject.errpaths.exclusion import Exclusions
from faultinject.errpaths.find import find_in_file

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

COUNTED = {
    "blk_mq_tags/sbitmap.py": ["20-21 none-branch", "21-21 raise"],
    "blk_mq_tags/tag_set.py": ["30-33 except", "76-78 except", "88-90 except"],
    "blk_mq_tags/tags.py": [
        "60-62 except",
        "65-69 except",
        "98-98 else",  # the next smaller order
        "99-99 else",  # no order was small enough
        "99-99 raise",
    ],
    "blk_mq_tags/test_tag_set.py": [
        "23-24 none-branch",
        "24-24 raise",
        "57-58 except",
        "110-110 with",
    ],
    "demo.py": ["58-66 with", "268-268 with"],
    "durable_store/right.py": [
        "30-30 with",
        "32-33 except",
        "40-40 with",
        "45-48 except",
        "46-46 suppress",
        "56-57 finally",
    ],
    "durable_store/wrong.py": [
        "30-30 with",
        "32-33 except",
        "39-39 with",
        "39-39 suppress",
        "51-52 finally",
    ],
    "e1000_ring/adapter.py": [
        "49-51 except",
        "54-57 none-branch",
        "57-57 raise",
        "92-94 except",
        "130-132 none-branch",
        "132-132 error-return",
        "154-156 none-branch",
        "156-156 error-return",
    ],
    "e1000_ring/rings.py": [
        "40-41 none-branch",
        "41-41 raise",
        "43-45 none-branch",
        "45-45 raise",
        "84-87 except",
    ],
    "e1000_ring/test_adapter.py": ["33-34 except", "107-107 with"],
    "first_fault/test_first_fault.py": [
        "5-6 none-branch",
        "6-6 raise",
        "7-8 none-branch",
        "8-8 raise",
    ],
    "interner/building.py": ["38-39 except"],
    "our_server/mail_index.py": [
        "21-22 none-branch",
        "22-22 raise",
        "42-42 else",
        "46-51 else",
        "48-50 none-branch",
        "50-50 raise",
    ],
    "our_server/reproduce.py": ["36-36 with", "39-40 except"],
    "our_server/test_our_server.py": ["39-39 with", "52-52 with", "70-70 with"],
    "ring/right/later.py": ["38-40 none-branch"],
    "ring/right/order.py": ["26-26 else", "26-26 raise"],
    "ring/right/pool.py": ["22-24 none-branch", "24-24 raise", "30-31 none-branch"],
    "ring/right/top.py": [
        "22-23 none-branch",
        "23-23 raise",
        "27-29 none-branch",
        "29-29 raise",
        "34-39 none-branch",
        "39-39 raise",
    ],
    "ring/test_order.py": ["26-27 finally", "32-32 with", "39-39 with"],
    "ring/wrong/later.py": ["34-36 none-branch", "36-36 error-return"],
    "ring/wrong/order.py": ["26-26 else", "26-26 raise"],
    "ring/wrong/pool.py": ["18-20 none-branch", "20-20 raise", "26-27 none-branch"],
    "ring/wrong/top.py": [
        "22-24 none-branch",
        "24-24 raise",
        "29-34 none-branch",
        "34-34 raise",
    ],
}


def test_the_examples_have_the_paths_that_were_counted() -> None:
    excluded = Exclusions().lines
    found = {}
    for file in sorted(EXAMPLES.rglob("*.py")):
        paths = find_in_file(str(file), excluded=excluded)
        assert (paths.unreadable, paths.excluded) == (None, 0)
        if paths.paths:
            found[file.relative_to(EXAMPLES).as_posix()] = [
                f"{path.line}-{path.end_line} {path.kind.value}" for path in paths.paths
            ]

    assert found == COUNTED
