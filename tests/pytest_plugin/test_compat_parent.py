"""The parent process is never changed by a trial: what the tests see is what they see without."""

from __future__ import annotations

import json

import pytest
from campaigns import FIXED_ORDER, run_campaign

pytestmark = pytest.mark.usefixtures("alone")

# Before and after each test, a line about everything that a trial might have changed.
DIARY = """
    import gc
    import hashlib
    import json
    import locale
    import logging
    import os
    import random
    import signal
    import sys
    import threading
    import warnings
    from pathlib import Path

    import pytest

    import faultinject as fi
    from faultinject.engine.log import injections, violations

    HERE = Path(__file__).parent
    PARENT = os.getpid()


    def digest(value):
        return hashlib.sha1(repr(value).encode()).hexdigest()[:8]


    def state():
        import test_state

        descriptors = len(os.listdir("/proc/self/fd"))
        umask = os.umask(0o22)
        os.umask(umask)
        return {
            "module": dict(test_state.seen),
            "counter": test_state.Counter.made,
            "environment": {name: os.environ.get(name) for name in ("TRIAL", "HOME", "PATH")},
            "names": sorted(os.environ),
            "folder": os.getcwd(),
            "umask": umask,
            "random": digest(random.getstate()),
            "path": len(sys.path),
            "recursion": sys.getrecursionlimit(),
            "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
            "threads": threading.active_count(),
            "descriptors": descriptors,
            "signals": [
                getattr(handler, "__name__", str(handler))
                for handler in map(signal.getsignal, (signal.SIGUSR1, signal.SIGCHLD))
            ],
            "children": test_state.ended,
            "hooks": (sys.excepthook is sys.__excepthook__, threading.excepthook.__module__),
            # On 3.11 coverage.py's tracer observes the lines of error paths.
            "trace": sys.version_info < (3, 12) or sys.gettrace() is None,
            "profile": sys.getprofile() is None,
            "level": logging.getLogger("driver").level,
            "handlers": len(logging.getLogger().handlers),
            "filters": digest([repr(entry) for entry in warnings.filters]),
            "locale": locale.setlocale(locale.LC_ALL),
            "files": sorted(item.name for item in HERE.iterdir() if item.suffix == ".data"),
            "injected": (injections.total, violations.total, fi.failslab.attr.times),
            "free": fi.kmalloc(8, fi.GFP_KERNEL).address,
        }


    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        if os.getpid() != PARENT:
            return (yield)
        with open(HERE / "diary.txt", "a") as diary:
            print(json.dumps([item.name, state()]), file=diary)
            try:
                return (yield)
            finally:
                print(json.dumps([item.name, state()]), file=diary)
"""

STATE = """
    import gc
    import logging
    import os
    import random
    import signal
    import sys
    import threading
    from pathlib import Path

    import pytest

    import faultinject as fi

    PARENT = os.getpid()
    seen = {}
    ended = 0


    class Counter:
        made = 0


    def hears(number, frame):
        global ended
        ended += 1
        os.waitpid(-1, os.WNOHANG)


    random.seed(2024)
    signal.signal(signal.SIGCHLD, hears)


    def take(name):
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            spoil(name)
            raise MemoryError(name)
        fi.kfree(item)


    def spoil(name):
        seen[name] = "spoilt"
        Counter.made += 100
        os.environ["TRIAL"] = name
        os.environ.pop("HOME", None)
        os.chdir("/")
        os.umask(0o77)
        random.seed(7)
        sys.path.append(name)
        sys.setrecursionlimit(5000)
        gc.disable()
        gc.freeze()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        sys.excepthook = print
        sys.setprofile(lambda *event: None)
        logging.getLogger("driver").setLevel(1)
        logging.getLogger().addHandler(logging.NullHandler())
        fi.failslab.attr.times = 99
        threading.Thread(target=threading.Event().wait, daemon=True).start()


    @pytest.fixture(scope="module")
    def lines():
        path = Path(__file__).with_name("lines.data")
        path.write_text("".join(f"line {number}\\n" for number in range(9)))
        with open(path, "rb", buffering=0) as file:
            yield file


    @pytest.fixture(scope="module")
    def shared():
        return {"runs": 0}


    @pytest.mark.parametrize("name", ["first", "second", "third"])
    def test_takes(name, lines, shared, tmp_path):
        Counter.made += 1
        seen[name] = random.random()
        shared["runs"] += 1
        number = {"first": 1, "second": 2, "third": 3}[name]
        assert shared["runs"] == number or os.getpid() != PARENT
        tmp_path.joinpath("made.data").write_text(name)
        # Each run in a process reads on where the one before it stopped: no trial's in another.
        assert lines.read(7) == b"line %d\\n" % (shared["runs"] - 1)
        take(name)


    def test_last(lines, shared):
        if os.getpid() == PARENT:
            assert lines.read(7) == b"line 3\\n"
        assert shared["runs"] == 3
        assert Counter.made == 3
        assert "spoilt" not in seen.values()
"""


def test_every_test_finds_the_same_process_with_and_without_a_campaign(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(DIARY)
    pytester.makepyfile(test_state=STATE)
    diary = pytester.path / "diary.txt"

    without = pytester.runpytest_subprocess(*FIXED_ORDER)
    expected = [json.loads(line) for line in diary.read_text().splitlines()]
    diary.unlink()
    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")
    written = [json.loads(line) for line in diary.read_text().splitlines()]

    without.assert_outcomes(passed=4)
    # Of all that a trial does there, a thread that stays is what makes it bad.
    campaign.result.assert_outcomes(passed=1, failed=3)
    assert len(expected) == 8
    for (name, before), (same, during) in zip(expected, written, strict=True):
        changed = {key for key in before if during[key] != before[key]}
        assert (same, {key: (before[key], during[key]) for key in changed}) == (name, {})
    for name in ("first", "second", "third"):
        assert campaign.outcomes(f"test_state.py::test_takes[{name}]") == ["leaked"], name


def test_a_campaign_survives_every_way_to_hear_of_children(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_children="""
        import os
        import signal
        import subprocess
        import sys

        import pytest

        import faultinject as fi

        heard = []


        def waits_for_all(number, frame):
            try:
                while True:
                    pid, _ = os.waitpid(-1, os.WNOHANG)
                    if not pid:
                        break
                    heard.append(pid)
            except ChildProcessError:
                pass


        @pytest.fixture(scope="module", params=["ignored", "waits for all"], autouse=True)
        def handler(request):
            kind = signal.SIG_IGN if request.param == "ignored" else waits_for_all
            before = signal.signal(signal.SIGCHLD, kind)
            yield kind
            assert signal.getsignal(signal.SIGCHLD) is kind
            signal.signal(signal.SIGCHLD, before)


        def test_crashes(handler):
            assert signal.getsignal(signal.SIGCHLD) is handler
            if fi.kmalloc(64, fi.GFP_KERNEL) is None:
                os.abort()


        def test_own_child(handler):
            heard.clear()
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
            child = subprocess.Popen([sys.executable, "-c", ""])
            child.wait()
            assert heard in ([child.pid], [])


        def test_nothing_was_heard_of_trials():
            assert len(heard) <= 1
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    for kind in ("ignored", "waits for all"):
        crashed, own = (
            campaign.tests[f"test_children.py::test_{name}[{kind}]"]["trials"]
            for name in ("crashes", "own_child")
        )
        assert [trial["outcome"] for trial in crashed] == ["crashed"], kind
        assert [trial["error"] for trial in crashed] == ["killed by SIGABRT"], kind
        assert [trial["outcome"] for trial in own] == ["recovered"], kind
    campaign.result.assert_outcomes(passed=4, failed=2)
