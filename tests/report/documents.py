"""Reports made by hand, and the sources that they speak of.

Lives here: a small project with every state and nearly every outcome, and as large a one as
a test asks for. Not here: any test.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from faultinject.campaign.outcome import Outcome
from faultinject.report.source import digest_of_file

RING = '''\
"""A ring of buffers."""

import faultinject as fi


class Ring:
    """Buffers, and the lock that guards them."""

    def open(self, number):
        self.slots = []
        for _ in range(number):
            slot = fi.kmalloc(64, fi.GFP_KERNEL)
            if slot is None:
                self.close()
                raise MemoryError("no slot")
            self.slots.append(slot)

    def resize(self, number):
        try:
            self.open(number)
        except MemoryError:
            self.slots = []
        except (OSError, ValueError) as error:
            raise RuntimeError("ring: <resize> & such") from error
        finally:
            self.lock = None

    def close(self):
        with fi.no_faults():
            for slot in self.slots:
                fi.kfree(slot)
'''

POOL = """\
import faultinject as fi


def page():
    return fi.alloc_pages(fi.GFP_KERNEL, order=0)


def pages(number):
    try:
        return [page() for _ in range(number)]
    except MemoryError:
        return []
"""

# Seven lines; the call site is the second one.
FUNCTION = """\
def take_{0}(count, *, name="x"):
    value = fi.kmalloc(64)  # a comment
    if value is None:
        raise MemoryError
    return [value, {0}, name]


"""

TRACEBACK = """\
Traceback (most recent call last):
  File "test_ring.py", line 9, in test_open
    ring.open(3)
MemoryError: no slot <&>
"""


def trial(
    outcome: str = "recovered",
    *,
    file: str = "lib/ring.py",
    line: int = 12,
    function: str = "Ring.open",
    hit: int = 1,
    test: str = "tests/test_ring.py::test_open",
    **changes: Any,
) -> dict[str, Any]:
    """One trial, as the JSON report has it."""
    return {
        "capability": "failslab",
        "site": {"file": file, "line": line, "function": function},
        "hit": hit,
        "size": 64,
        "unit": "bytes",
        "domain": None,
        "caller": None,
        "persistent": False,
        "outcome": outcome,
        "verdict": Outcome(outcome).verdict().value,
        "known": False,
        "interpreter": None,
        "error": None,
        "leaks": [],
        "details": [],
        "traceback": None,
        "replay": f"1|failslab|{file}|{function}+{line}.8|{hit}|transient|{test}",
        "duration": 0.001,
        **changes,
    }


def error_path(
    line: int, end_line: int, kind: str, reached: str, *, function: str = "Ring.open", **more: Any
) -> dict[str, Any]:
    """One error path, as the JSON report has it."""
    path = {"line": line, "end_line": end_line, "kind": kind, "function": function}
    return {**path, "types": [], "reached": reached, "entered_by": [], **more}


def make_document(
    tests: dict[str, list[dict[str, Any]]],
    files: dict[str, list[dict[str, Any]]] | None = None,
    *,
    root: Path | None = None,
    python: str = "3.13.0",
) -> dict[str, Any]:
    """A report of some trials by test and some error paths by file."""
    trials = [item for some in tests.values() for item in some]
    counts = Counter(item["outcome"] for item in trials)
    document: dict[str, Any] = {
        "schema": 1,
        "faultinject": "0.1.0",
        "python": python,
        "tests": [
            {
                "nodeid": nodeid,
                "baseline": "passed",
                "sites": len({(t["site"] or {}).get("line") for t in some}),
                "not_run": 0,
                "runs_twice": True,
                "notes": [],
                "trials": some,
            }
            for nodeid, some in tests.items()
        ],
        "summary": {
            "tests": len(tests),
            "trials": len(trials),
            **{outcome.value: counts[outcome.value] for outcome in Outcome},
        },
    }
    if files is not None:
        states = Counter(path["reached"] for paths in files.values() for path in paths)
        decided = {state: states[state] for state in ("clean", "injected", "never")}
        document["error_paths"] = {
            "files": [{"file": name, "paths": paths} for name, paths in files.items()],
            "total": sum(decided.values()),
            **decided,
            "undecided": states["undecided"],
        }
    if root is not None:
        named = {item["site"]["file"] for item in trials if item["site"]} | set(files or ())
        digests = {name: digest_of_file(root / name) for name in sorted(named)}
        document["sources"] = {name: text for name, text in digests.items() if text}
    return document


def write_sources(root: Path) -> None:
    """Write the small project's sources."""
    (root / "lib").mkdir(exist_ok=True)
    (root / "lib" / "ring.py").write_text(RING, encoding="utf-8")
    (root / "lib" / "pool.py").write_text(POOL, encoding="utf-8")


def small_document(root: Path | None = None) -> dict[str, Any]:
    """A report with every state; with `root` it knows what the sources are like."""
    first = trial("propagated", error="MemoryError: no slot", caught="test")
    leaked = trial(
        "leaked",
        hit=3,
        error="MemoryError: no slot",
        leaks=["kmalloc of 64 bytes, allocated at lib/ring.py:12 in Ring.open (x2)"],
        traceback=TRACEBACK,
        caught="test",
    )
    handler = {"file": "lib/ring.py", "line": 21, "kind": "except"}
    resized = trial(test="tests/test_ring.py::test_resize", caught=handler)
    crashed = trial(
        "crashed",
        file="lib/pool.py",
        line=5,
        function="page",
        test="tests/test_pool.py::test_page[<a> & 'b|c']",
        error="killed by SIGSEGV",
        capability="fail_page_alloc",
    )
    lost = trial("not_reached", hit=0, test="tests/test_pool.py::test_random", site=None)
    known = trial("failed", file="lib/pool.py", line=10, function="pages", known=True)
    entered = [first["replay"], leaked["replay"], resized["replay"]]
    return make_document(
        {
            "tests/test_ring.py::test_open": [first, leaked],
            "tests/test_ring.py::test_resize": [resized],
            "tests/test_pool.py::test_page[<a> & 'b|c']": [crashed, known],
            "tests/test_pool.py::test_random": [lost],
        },
        {
            "lib/pool.py": [
                error_path(
                    11,
                    12,
                    "except",
                    "injected",
                    function="pages",
                    types=["MemoryError"],
                    entered_by=[known["replay"]],
                )
            ],
            "lib/ring.py": [
                error_path(13, 15, "none-branch", "injected", entered_by=entered),
                error_path(15, 15, "raise", "injected", types=["MemoryError"], entered_by=entered),
                error_path(
                    21,
                    22,
                    "except",
                    "clean",
                    function="Ring.resize",
                    types=["MemoryError"],
                    entered_by=[resized["replay"]],
                ),
                error_path(
                    23,
                    24,
                    "except",
                    "never",
                    function="Ring.resize",
                    types=["OSError", "ValueError"],
                ),
                error_path(
                    24, 24, "raise", "never", function="Ring.resize", types=["RuntimeError"]
                ),
                error_path(25, 26, "finally", "undecided", function="Ring.resize"),
                error_path(29, 29, "with", "never", function="Ring.close"),
            ],
        },
        root=root,
    )


def large_document(root: Path, *, files: int, trials: int, lines: int = 200) -> dict[str, Any]:
    """Write `files` sources of `lines` lines, and give a report of `trials` trials in them."""
    text = "import faultinject as fi\n\n\n" + "".join(map(FUNCTION.format, range(lines // 7)))
    tests: dict[str, list[dict[str, Any]]] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(files):
        name = f"pkg/module_{number}.py"
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
        found[name] = [
            error_path(6 + 7 * at, 7 + 7 * at, "none-branch", "never", function=f"take_{at}")
            for at in range(lines // 7)
        ]
    for number in range(trials):
        name = f"pkg/module_{number % files}.py"
        at = number // files % (lines // 7)
        test = f"tests/test_module_{number % files}.py::test_{number // files}"
        bad = number % 3 == 0
        one = trial(
            "failed" if bad else "recovered",
            file=name,
            line=5 + 7 * at,
            function=f"take_{at}",
            test=test,
            traceback=TRACEBACK * 3 if bad else None,
            error="AssertionError: assert 3 == 4" if bad else None,
        )
        tests.setdefault(test, []).append(one)
        found[name][at]["reached"] = "injected"
        found[name][at]["entered_by"].append(one["replay"])
    return make_document(tests, found, root=root)
