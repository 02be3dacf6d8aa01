"""A small project for tests of options, and the places where an option can be written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_faultinject.options import OPTIONS

RING = """
import faultinject as fi


def get():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    return got
"""

POOL = """
import faultinject as fi


def page():
    return fi.alloc_pages(fi.GFP_KERNEL, order=0)
"""

# In the body: three hits of one call, a page, and two calls on one line.
TEST = """
import os
from pathlib import Path

import pool
import pytest
import ring

import faultinject as fi


@pytest.fixture
def kept():
    got = fi.kmalloc(8, fi.GFP_KERNEL)
    yield
    fi.kfree(got)


def test_it(kept):
    with Path(__file__).with_name("pids").open("a") as file:
        print(os.getpid(), file=file)
    for _ in range(3):
        fi.kfree(ring.get())
    page = pool.page()
    if page is not None:
        fi.free_pages(page, 0)
    one, two = fi.kmalloc(8, fi.GFP_KERNEL), fi.kmalloc(8, fi.GFP_KERNEL)
    fi.kfree(one)
    fi.kfree(two)
"""

# Other tests, for options whose effect that one cannot show.
HANG = """
import time

import faultinject as fi


def test_it():
    while (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        while True:
            time.sleep(0.01)
    fi.kfree(got)
"""

BUG = """
import faultinject as fi


def test_it():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    got[0:1] = b"x"
    fi.kfree(got)
"""

LEAK = """
import os
import tempfile

import faultinject as fi


def test_it(tmp_path):
    descriptor, path = tempfile.mkstemp(dir=tmp_path)
    os.close(descriptor)
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    fi.kfree(got)
    os.unlink(path)
"""

HUNGRY = """
import faultinject as fi


def test_it():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        bytearray(200 << 20)
    else:
        fi.kfree(got)
"""

SET_UP_APART = """
import os
from pathlib import Path

import pytest

import faultinject as fi


@pytest.fixture
def made():
    return os.getpid()


def test_it(made):
    with Path(__file__).with_name("pids").open("a") as file:
        print(made == os.getpid(), file=file)
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
"""

CALLS = """
import os


def test_it(tmp_path):
    try:
        with (tmp_path / "kept").open("w"):
            os.listdir(tmp_path)
    except OSError:
        os.getpid()
"""

# The model's two: what else there is depends on the machine.
MODEL = "failslab;fail_page_alloc"


def on_command_line(values: Mapping[str, Any]) -> list[str]:
    """Spell options for the command line."""
    words = []
    for stem, value in values.items():
        flag = flag_of(stem)
        if value is True:
            words.append(flag)
        else:
            words += [f"{flag}={item}" for item in (value if isinstance(value, list) else [value])]
    return words


def flag_of(stem: str) -> str:
    return next(option.flag for option in OPTIONS if option.stem == stem)


def twin(stem: str) -> str:
    return next(option.ini for option in OPTIONS if option.stem == stem)


def write_ini(folder: Path, values: Mapping[str, Any]) -> None:
    lines = ["[pytest]"]
    for stem, value in values.items():
        text = shlex.join(value) if isinstance(value, list) else str(value)
        lines.append(f"{twin(stem)} = {text}")
    (folder / "pytest.ini").write_text("\n".join(lines))


def write_toml(table: str) -> Callable[[Path, Mapping[str, Any]], None]:
    def write(folder: Path, values: Mapping[str, Any]) -> None:
        # JSON's literals for these types are TOML's as well.
        lines = [f"{twin(stem)} = {json.dumps(value)}" for stem, value in values.items()]
        (folder / "pyproject.toml").write_text("\n".join([f"[{table}]", *lines]))

    return write


INI_FILES = {
    "pytest.ini": write_ini,
    "tool.pytest.ini_options": write_toml("tool.pytest.ini_options"),
    "tool.pytest": write_toml("tool.pytest"),
}


def make_project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Write the project: a ring, a pool, and a test of both."""
    pytester.makepyfile(ring=RING, pool=POOL, test_it=TEST)
    (pytester.path / "nothing-known.txt").touch()
    return pytester
