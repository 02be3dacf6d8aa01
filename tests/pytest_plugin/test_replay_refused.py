"""Replay of what is gone, and tokens that are none: never taken for success."""

from __future__ import annotations

import pytest
from leaky_ring import RING, TEST, TESTS
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")


GONE = {
    "the test": (
        {"test_ring": TEST.replace("def test_open():", "def test_other():")},
        4,
        "--fail-alloc-replay: the token's test 'test_ring.py::test_open' was not collected",
    ),
    "the file's tests": ({"test_ring": "import ring"}, 4, "was not collected"),
    "the call site": (
        {
            "ring": RING.replace("fi.kmalloc(64, fi.GFP_KERNEL)", "object()").replace(
                "fi.", "id or "
            )
        },
        1,
        "the token's call site (ring.py in open_ring) is not reached by a clean run any more",
    ),
    "the hit": (
        {"test_ring": TEST.replace("open_ring(3)", "open_ring(2)")},
        1,
        "nothing was replayed: the token wants hit 3 of its call site, a clean run has 2 now",
    ),
    "a test that passes": (
        {"test_ring": TEST.replace("close_ring(open_ring(3))", "assert 0, 'on its own'")},
        1,
        "on its own",
    ),
}


@pytest.mark.parametrize("what", GONE)
def test_a_token_for_something_that_is_gone_is_no_success(
    pytester: pytest.Pytester, what: str
) -> None:
    files, status, said = GONE[what]
    pytester.makepyfile(**TESTS)
    token = run_here(pytester, "--fail-alloc-spec=failslab").tokens("test_ring.py::test_open")[1]
    pytester.makepyfile(**files)

    result = pytester.runpytest_inprocess(f"--fail-alloc-replay={token}")

    assert result.ret == status
    assert said in result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str()


def test_a_token_for_a_file_that_is_gone_is_pytests_own_refusal(
    pytester: pytest.Pytester,
) -> None:
    token = "1|failslab|ring.py|f+1.2|1|transient|test_gone.py::test_open"

    result = pytester.runpytest_inprocess(f"--fail-alloc-replay={token}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "file or directory not found" in result.stderr.str()


def test_an_error_while_the_tokens_file_is_collected_is_shown(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_ring="import no_such_module")
    token = "1|failslab|ring.py|f+1.2|1|transient|test_ring.py::test_open"

    result = pytester.runpytest_inprocess(f"--fail-alloc-replay={token}")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "no_such_module" in result.stdout.str()
    assert result.stderr.str() == ""


MANGLED = {
    "cut off": "1|failslab|ring.py|open_ring+3.15|2|transient",
    "no place": "1|failslab|ring.py|open_ring|2|transient|test_ring.py::test_open",
    "no hit": "1|failslab|ring.py|open_ring+3.15|0|transient|test_ring.py::test_open",
    "no mode": "1|failslab|ring.py|open_ring+3.15|2|sometimes|test_ring.py::test_open",
    "no capability": "1|failslob|ring.py|open_ring+3.15|2|transient|test_ring.py::test_open",
    "no option": "1|failslab|r.py|f+3.1|2|transient;identity=token|test_ring.py::test_open",
    "no phase": "1|failslab|r.py|f+3.1|2|transient;phases=body|test_ring.py::test_open",
    "no seconds": "1|failslab|r.py|f+3.1|2|transient;timeout=soon|test_ring.py::test_open",
    "no number": "1|random|failslab:probability=9|seven|0|random|test_ring.py::test_open",
    "no spec": "1|random|failslob:probability=9|7|0|random|test_ring.py::test_open",
    "another version": "2|failslab|ring.py|open_ring+3.15|2|transient|test_ring.py::test_open",
}


@pytest.mark.parametrize("token", MANGLED.values(), ids=MANGLED)
def test_a_mangled_token_is_refused_at_start_up(pytester: pytest.Pytester, token: str) -> None:
    pytester.makepyfile(**TESTS)

    result = pytester.runpytest_inprocess(f"--fail-alloc-replay={token}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stdout.str() == ""
    assert "--fail-alloc-replay" in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_a_random_token_whose_mark_was_edited_is_no_success(pytester: pytest.Pytester) -> None:
    text = """
        import pytest

        import faultinject as fi


        @pytest.mark.fail_alloc("failslab:probability=100")
        def test_it():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """
    pytester.makepyfile(test_it=text)
    token = run_here(pytester, "--fail-alloc").tokens("test_it.py::test_it")[0]
    pytester.makepyfile(test_it=text.replace("100", "90"))

    result = pytester.runpytest_inprocess(f"--fail-alloc-replay={token}")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nothing was replayed: the test is not tried with the token's*"])
