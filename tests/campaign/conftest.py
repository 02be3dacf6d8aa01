"""What tests of campaigns share: an interpreter that was stripped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faultinject.campaign import c_symbols
from faultinject.campaign.c_symbols import symbols_of
from faultinject.campaign.c_unnamed import cannot_be_told, parts_of, starts_of


@pytest.fixture
def stripped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read of every file only what it exports, as if it had been stripped."""

    def forget() -> None:
        for read in (symbols_of, starts_of, parts_of, cannot_be_told):
            read.cache_clear()

    forget()
    monkeypatch.setattr(c_symbols, "_SYMBOL_TABLE", -1)
    yield
    monkeypatch.undo()
    forget()
