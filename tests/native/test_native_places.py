"""Names of packages, functions and files, as the C module matches them."""

from __future__ import annotations

import json
import json.decoder
import os
from pathlib import Path
from types import CodeType

import pytest

from faultinject.native import CodeScope, Requests, why_unavailable

if why_unavailable() is None:
    from faultinject.native import _hook
else:
    pytest.skip(str(why_unavailable()), allow_module_level=True)

INCLUDE = 1
STOP = 4


def code_at(file: str, function: str = "f", line: int = 1) -> CodeType:
    source = (lambda: None).__code__
    return source.replace(co_filename=file, co_qualname=function, co_firstlineno=line)


def says(scope: CodeScope, code: CodeType) -> int:
    arming = _hook.Arming(
        2, Requests.of().sizes, scope.rules, False, scope.depth, scope.filter_depth, (), (), 16
    )
    return arming.says(code)


DECODER = json.decoder.__file__
PACKAGE = os.path.dirname(DECODER)


@pytest.mark.parametrize(
    ("sources", "omit", "code", "under_test"),
    [
        (["json"], [], code_at(DECODER), True),
        (["json.decoder"], [], code_at(DECODER), True),
        (["json.decoder"], [], code_at(f"{PACKAGE}/encoder.py"), False),
        (["json.decoder:JSONDecoder"], [], code_at(DECODER, "JSONDecoder.decode"), True),
        (["json.decoder:JSONDecoder"], [], code_at(DECODER, "JSONDecoderX.decode"), False),
        ([PACKAGE], [], code_at(DECODER), True),
        ([DECODER], [], code_at(DECODER), True),
        ([DECODER], [], code_at(DECODER + "x"), False),
        (["json"], ["json.decoder"], code_at(DECODER), False),
        ([DECODER], ["json"], code_at(DECODER), False),
        (["no_such_package"], [], code_at(DECODER), False),
        (["*"], [], code_at("/any/where.py"), True),
        (["src/*.py"], [], code_at("/home/src/cache.py"), True),
        (["src/*.py"], [], code_at("/home/src/deep/cache.py"), False),
        (["src/**.py"], [], code_at("/home/src/deep/cache.py"), True),
        (["src/"], [], code_at("/home/src/deep/cache.py"), True),
        (["rc/*.py"], [], code_at("/home/src/cache.py"), False),
        (["c?che.py"], [], code_at("/home/cäche.py"), True),
        (["cache.py:40-60"], [], code_at("/home/cache.py", line=40), True),
        (["cache.py:40-60"], [], code_at("/home/cache.py", line=61), False),
        ([], [], code_at("/any/where.py"), True),
        ([], ["/any/*.py"], code_at("/any/where.py"), False),
    ],
)
def test_a_source_or_omission_means_this_code(
    sources: list[str], omit: list[str], code: CodeType, under_test: bool
) -> None:
    assert bool(says(CodeScope.of(sources, omit), code) & INCLUDE) is under_test


def test_the_harness_stops_the_search_unless_a_source_names_it() -> None:
    import pluggy

    code = code_at(os.path.join(os.path.dirname(pluggy.__file__), "_hooks.py"))

    assert says(CodeScope.of(), code) == STOP
    assert says(CodeScope.of(["*"]), code) == STOP
    assert says(CodeScope.of(["pluggy"]), code) == INCLUDE


def test_an_exclusion_gives_way_to_a_source_inside_it() -> None:
    scope = CodeScope.of([DECODER], exclude=[PACKAGE])

    assert says(scope, code_at(DECODER)) == INCLUDE
    assert says(scope, code_at(f"{PACKAGE}/encoder.py")) == 0


def test_a_package_includes_its_extension_modules() -> None:
    import _json

    assert CodeScope.of(["_json"]).extensions[0] == _json.__file__


def test_what_is_excluded_is_not_searched_for_extension_modules(tmp_path: Path) -> None:
    installed = tmp_path / "venv" / "site-packages"
    own, foreign = tmp_path / "src" / "own.so", installed / "foreign.so"
    for file in (own, foreign):
        file.parent.mkdir(parents=True)
        file.touch()

    def found(source: Path) -> list[str]:
        return list(CodeScope.of([str(source)], exclude=[f"{installed}/"]).extensions)

    assert found(tmp_path) == [str(own)]
    assert found(installed) == [str(foreign)]  # unless a source names it
