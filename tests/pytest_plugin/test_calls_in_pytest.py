"""Calls of functions in pytest: what an option, a SPEC and a replay line say is the same."""

from __future__ import annotations

import tempfile

import pytest
from campaigns import Campaign
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")

SHOP = """
import os

def tidy(folder):
    try:
        return len(os.listdir(folder))
    except PermissionError:
        return undefined
"""
TESTS = "import shop\n\ndef test_tidy(tmp_path):\n    assert shop.tidy(tmp_path) == 0\n"
NODE = "test_shop.py::test_tidy"


def outcomes(campaign: Campaign) -> list[tuple[str, str]]:
    return [(trial["fault"], trial["outcome"]) for trial in campaign.tests[NODE]["trials"]]


FOUND = [("os.listdir: OSError(EACCES)", "failed"), ("os.listdir: OSError(EMFILE)", "propagated")]


@pytest.mark.parametrize(
    "asked",
    [
        ["--fail-function=os.listdir:EACCES", "--fail-function=os.listdir:EMFILE"],
        ["--fail-alloc-spec=fail_function:target=os.listdir,error=EACCES|EMFILE"],
        ["--fail-function=permission", "--fail-function=os.listdir:EMFILE"],
    ],
    ids=["options", "spec", "profile"],
)
def test_a_trial_is_a_call_with_an_error_and_its_line_brings_it_back(
    pytester: pytest.Pytester, asked: list[str]
) -> None:
    pytester.makepyfile(shop=SHOP, test_shop=TESTS)

    campaign = run_here(pytester, *asked)
    (token, _) = campaign.tokens(NODE)
    replayed = run_here(pytester, f"--fail-alloc-replay={token}")

    assert outcomes(campaign) == FOUND
    assert outcomes(replayed) == FOUND[:1]


KEEPER = """
import pytest

KEPT = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    KEPT.append(call.excinfo)
    return (yield)
"""
HOLDER = """
import os

class Holder:
    def __init__(self, path):
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self):
        os.close(self.descriptor)

    def look(self):
        return os.listdir(".")
"""
HOLDS = """
import holder

def test_look(tmp_path):
    held = holder.Holder(tmp_path)
    assert held.look() is not None
"""
CLOSES_OVER = """
import holder

def test_look(tmp_path):
    held = holder.Holder(tmp_path)

    def look():
        return held.look()

    assert look() is not None
"""


@pytest.mark.parametrize("holds", [HOLDS, CLOSES_OVER], ids=["a variable", "a function"])
def test_what_another_plugin_keeps_alive_is_no_leak_of_the_code(
    pytester: pytest.Pytester, holds: str
) -> None:
    pytester.makeconftest(KEEPER)
    pytester.makepyfile(holder=HOLDER, test_holder=holds)

    campaign = run_here(pytester, "--fail-function=os.listdir:EACCES")

    assert campaign.outcomes("test_holder.py::test_look") == ["propagated"]


COPIER = """
import os
import tempfile

def copy_into(folder):
    os.mkdir(os.path.join(folder, "copy"))

def copy_carefully(folder):
    scratch = tempfile.mkdtemp(dir=folder)
    copy_into(scratch)
"""
COPIES = """
import copier
import shutil
import tempfile

def test_copies():
    folder = tempfile.mkdtemp()
    copier.copy_into(folder)
    shutil.rmtree(folder)

def test_copies_carefully():
    folder = tempfile.mkdtemp()
    copier.copy_carefully(folder)
    shutil.rmtree(folder)
"""


def test_what_a_test_made_and_could_not_remove_any_more_is_no_leak_of_the_code(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(copier=COPIER, test_copier=COPIES)
    monkeypatch.setattr(tempfile, "tempdir", str(pytester.mkdir("temporary")))

    campaign = run_here(pytester, "--fail-function=os.mkdir:ENOSPC")

    assert campaign.outcomes("test_copier.py::test_copies") == ["propagated"]
    node = "test_copier.py::test_copies_carefully"
    assert campaign.outcomes(node)[-1] == "leaked"
    leaks = [leak for trial in campaign.tests[node]["trials"] for leak in trial["leaks"]]
    assert [leak.rpartition(" in ")[2] for leak in leaks] == ["copy_carefully"]
