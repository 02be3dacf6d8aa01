"""What every test may use: pytest's own driver for tests of plugins."""

from collections.abc import Iterator

import pytest

from faultinject.functions.acts import raised

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def nothing_was_injected() -> Iterator[None]:
    """Forget what a test has injected into calls: another test's errors are its own."""
    yield
    raised.clear()
