"""Names of callables: what a pattern of `fail_function` means."""

from __future__ import annotations

import builtins
import io
import os
import random
import socket
import sys
import types
from collections.abc import Iterator
from inspect import getattr_static
from pathlib import Path

import pytest

from faultinject.errors import SpecError
from faultinject.functions.target import Target, resolve

SHOP = """
import functools
import os
from os import replace
from pathlib import Path

class Full(Exception): ...

def sell(): ...

class Till:
    LIMIT = 3

    def open(self): ...
    def _count(self): ...
    @classmethod
    def default(cls): ...
    @staticmethod
    def currency(): ...
    @property
    def total(self): ...

class Automat(Till):
    def refill(self): ...

till = Automat()
open_till = till.open
"""


@pytest.fixture
def shop() -> Iterator[types.ModuleType]:
    module = types.ModuleType("small_shop")
    sys.modules["small_shop"] = module
    exec(SHOP, vars(module))
    yield module
    del sys.modules["small_shop"]


def one(pattern: str) -> Target:
    (target,) = resolve(pattern)
    return target


@pytest.mark.parametrize(
    ("pattern", "name", "called"),
    [
        ("open", "open", open),
        ("builtins.open", "open", open),
        ("os.replace", "os.replace", os.replace),
        ("os:replace", "os.replace", os.replace),
        ("socket.create_connection", "socket.create_connection", socket.create_connection),
        ("io.FileIO", "io.FileIO", io.FileIO),
        ("io.TextIOWrapper.write", "io.TextIOWrapper.write", io.TextIOWrapper.write),
        ("os.path.getsize", "os.path.getsize", os.path.getsize),
        ("xml.dom.minidom.parse", "xml.dom.minidom.parse", None),
        ("random.random", "random.random", random.random),
        (" open ", "open", open),
    ],
)
def test_a_name_means_what_a_call_site_calls(pattern: str, name: str, called: object) -> None:
    target = one(pattern)

    assert target.name == name
    assert target.owner is None
    assert called is None or target.callable is called


def test_all_aliases_of_one_object_are_one_target() -> None:
    assert one("io.open") == one("_io.open") == one("open")
    assert one("posix.replace" if os.name == "posix" else "nt.replace") == one("os.replace")


def test_a_method_of_an_open_file_is_the_descriptor_of_its_class() -> None:
    target = one("io.TextIOWrapper.write")

    assert isinstance(target.callable, types.MethodDescriptorType)
    assert type(sys.__stdout__).write is target.callable


def test_an_inherited_method_is_meant_for_the_named_class_alone(shop: types.ModuleType) -> None:
    inherited, own = one("small_shop:Automat.open"), one("small_shop.Till.open")

    assert inherited == Target("small_shop.Automat.open", shop.Till.open, shop.Automat)
    assert own == Target("small_shop.Till.open", shop.Till.open, None)


def test_class_and_static_methods_are_what_they_hold(shop: types.ModuleType) -> None:
    default, currency = one("small_shop:Till.default"), one("small_shop:Automat.currency")

    assert default.callable is getattr_static(shop.Till, "default").__func__
    assert currency == Target("small_shop.Automat.currency", shop.Till.currency, None)


def test_a_bound_method_is_its_function(shop: types.ModuleType) -> None:
    assert one("small_shop.open_till").callable is shop.Till.open
    assert one("small_shop:till.open").callable is shop.Till.open


def test_a_star_means_the_public_callables_of_a_class(shop: types.ModuleType) -> None:
    found = {target.name: target.owner for target in resolve("small_shop:Automat.*")}

    assert found == {
        "small_shop.Automat.currency": None,
        "small_shop.Automat.default": shop.Automat,
        "small_shop.Automat.open": shop.Automat,
        "small_shop.Automat.refill": None,
    }


def test_a_star_means_what_a_module_defines_but_no_exceptions(shop: types.ModuleType) -> None:
    shop.till = shop.open_till = None

    names = [target.name for target in resolve("small_shop:*")]

    assert names == ["small_shop.Automat", "small_shop.Till", "small_shop.sell"]


def test_a_star_in_a_name_narrows_it_down() -> None:
    names = [target.name for target in resolve("socket.socket.send*")]

    assert {"socket.socket.send", "socket.socket.sendall", "socket.socket.sendto"} <= set(names)
    assert all(name.startswith("socket.socket.send") for name in names)
    assert {"os.fsync", "os.fsencode"} <= {target.name for target in resolve("os.fs*")}


def test_a_module_that_a_name_needs_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "far_away").mkdir()
    (tmp_path / "far_away" / "__init__.py").write_text("")
    (tmp_path / "far_away" / "land.py").write_text("def go(): ...\n")

    assert one("far_away.land.go").name == "far_away.land.go"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("os.repalce", r"the module os has no repalce: 'os.repalce' .*Perhaps replace .*is meant"),
        ("oepn", r"no module oepn.*Perhaps open "),
        ("socket.socket.recvv", r"the class socket.socket has no recvv.*Perhaps recv "),
        ("xml.dom.minidon:parse", r"no module xml.dom.minidon.*Perhaps xml.dom.minidom is meant"),
        ("xml.don.minidom:parse", r"no module xml.don.*Perhaps xml.dom is meant"),
        ("small_shop:Till.LIMIT", r"no callable, but an int"),
        ("small_shop:Till.total", r"no callable, but a property"),
        ("json", r"a module is no callable: 'json'.*json\.\*"),
        ("os.nothing*", r"the module os has no public callable of such a name"),
        ("os..replace", r"not the name of a callable: 'os..replace'"),
        ("os.replace()", r"not the name of a callable"),
        ("", r"not the name of a callable: ''"),
        ("*", r"not the name of a callable"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_names_no_callable_is_refused_with_near_names(pattern: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        resolve(pattern)


def test_a_module_that_cannot_be_imported_is_refused_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_shop.py").write_text("1 / 0\n")

    with pytest.raises(SpecError, match="broken_shop cannot be imported: ZeroDivisionError"):
        resolve("broken_shop.sell")


def test_no_name_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "eval", None)
    monkeypatch.setattr(builtins, "exec", None)

    with pytest.raises(SpecError):
        resolve("__import__('os').replace")
