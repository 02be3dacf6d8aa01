"""An extension module under test: its sites are wherever anybody calls into it."""

from __future__ import annotations

import json
import operator

import pytest
from native_children import in_a_child

from faultinject.native import Census, CodeScope, NativeSite, Strike, Target, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
_json = pytest.importorskip("_json")
if not getattr(_json, "__file__", None):
    pytest.skip("_json is built into this interpreter", allow_module_level=True)

EXTENSION = CodeScope.of(["_json"])
TEXT = json.dumps({"key": ["value " * 20, 1.5, {"deep": [None, 300, "x" * 300]}]})


def decode() -> object:
    return json.loads(TEXT)


def list_only() -> object:
    return ["a" * 1000 for _ in range(5)]


def census() -> list[NativeSite]:
    with Census(EXTENSION) as seen:
        decode()
        list_only()
    return seen.sites


def test_its_sites_are_the_python_lines_that_call_into_it() -> None:
    sites = in_a_child(census)

    assert {site.function for site in sites} == {"JSONDecoder.raw_decode"}
    assert all(site.extension and site.c_caller for site in sites)
    assert len(sites) > 3


def test_a_strike_at_each_of_them_is_reached() -> None:
    def trial(site: NativeSite) -> bool:
        strike = Strike(Target(site), scope=EXTENSION)
        try:
            with strike:
                decode()
                list_only()
        except MemoryError:
            return strike.struck
        return False

    decode()
    sites = in_a_child(census)

    assert [in_a_child(lambda s=site: trial(s)) for site in sites] == [True] * len(sites)


def test_what_others_ask_for_in_the_same_instruction_is_no_hit_of_its_site() -> None:
    encode = _json.encode_basestring_ascii

    def run() -> list[str]:
        return list(map(operator.call, [encode, str.upper, encode, str.upper], ["text"] * 4))

    def census() -> list[int]:
        with Census(EXTENSION) as seen:
            run()
        return [site.hits for site in seen.sites if site.c_caller.startswith("PyUnicode_New")]

    assert in_a_child(census) == [2]
