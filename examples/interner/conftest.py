"""The module under test, right and wrong, built when the folder's tests are collected."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

_spec = spec_from_file_location("interner_building", Path(__file__).with_name("building.py"))
assert _spec is not None
assert _spec.loader is not None
_building = module_from_spec(_spec)
_spec.loader.exec_module(_building)

# Here and not in a fixture: `--fail-alloc-source=interner_wrong` must find the module.
NOT_BUILT = _building.build()
sys.path.insert(0, str(_building.BUILT))


@pytest.fixture(params=["right", "wrong"])
def interner(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """An interner that holds nothing, before the test and after it."""
    if NOT_BUILT:
        pytest.skip(NOT_BUILT)
    module = importlib.import_module(f"interner_{request.param}")
    module.clear()
    yield module
    module.clear()
