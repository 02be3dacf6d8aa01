"""The promise of a store, for the right one and the wrong one.

Try ``pytest --fail-function=disk examples/durable_store``.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durable_store import right, wrong

both = pytest.mark.parametrize("shop", [right, wrong], ids=["right", "wrong"])


@both
def test_what_was_put_is_there(shop: ModuleType, tmp_path: Path, fail_alloc: Any) -> None:
    path = tmp_path / "stock.json"
    kept: dict[str, str] = {}

    def all_that_was_kept_is_there() -> None:
        there = right.Store(path).items
        assert {key: there.get(key) for key in kept} == kept

    fail_alloc.invariant(all_that_was_kept_is_there)

    for fruit, price in (("apple", "3"), ("pear", "4")):
        shop.Store(path).put(fruit, price)
        kept[fruit] = price
