import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultinject.engine.attr import FaultAttr
from faultinject.engine.spec import Kind, parse_boot, parse_spec
from faultinject.errors import SpecError

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}(\.[a-z_][a-z0-9_]{0,6}){0,2}", fullmatch=True)
FILES = st.from_regex(
    r"/?[A-Za-z0-9_*?=:-]{1,8}/[A-Za-z0-9_*?= -]{0,6}\.py(:[0-9]{1,3}(-[0-9]{1,3})?)?",
    fullmatch=True,
)
PATTERNS = st.lists(
    NAMES | NAMES.map(lambda name: f"{name}:Ring.open.<locals>.f") | st.just("*") | FILES,
    max_size=3,
)
UNSIGNED = st.integers(0, 2**64 - 1)
SIGNED = st.integers(-(2**31), 2**31 - 1)
ATTRS = st.builds(
    FaultAttr,
    probability=UNSIGNED,
    interval=UNSIGNED,
    times=SIGNED,
    space=SIGNED,
    verbose=st.integers(0, 5),
    task_filter=st.booleans(),
    stacktrace_depth=st.integers(0, 40),
    require=PATTERNS,
    reject=PATTERNS,
    seed=st.none() | st.integers(),
    verbose_ratelimit_interval_ms=UNSIGNED,
    verbose_ratelimit_burst=UNSIGNED,
)
GATES = {"failslab": {"cache_filter": Kind.FLAG}, "fail_page_alloc": {"min_order": Kind.UNSIGNED}}


@given(ATTRS)
def test_str_gives_what_parse_reads_back(attr: FaultAttr) -> None:
    text = str(attr)

    assert text
    assert FaultAttr.parse(text) == attr


@given(st.text(max_size=40))
def test_a_text_is_read_or_refused_by_a_spec_error(text: str) -> None:
    try:
        attr = FaultAttr.parse(text)
    except SpecError:
        return

    assert FaultAttr.parse(str(attr)) == attr


def test_str_writes_the_four_boot_knobs_always_and_others_where_they_differ() -> None:
    assert str(FaultAttr()) == "interval=1,probability=0,space=0,times=1"
    assert str(FaultAttr(task_filter=True, seed=7, require=["a", "b"])) == (
        "interval=1,probability=0,space=0,times=1,task_filter=Y,require=a|b,seed=7"
    )


def test_blanks_around_names_and_values_do_not_count() -> None:
    attr = FaultAttr.parse(" probability = 10 , times= -1 ")

    assert (attr.probability, attr.times) == (10, -1)


@pytest.mark.parametrize("text", ["Y", "yes", "TRUE", "1", "on"])
def test_a_flag_is_spelled_as_the_kernel_allows(text: str) -> None:
    assert FaultAttr.parse(f"task_filter={text}").task_filter


def test_a_module_and_a_function_pattern_survive_in_a_text() -> None:
    attr = FaultAttr.parse("require=mypkg.cache:LRU.put|src/a=b.py:40-60")

    assert attr.require == ("mypkg.cache:LRU.put", "src/a=b.py:40-60")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a knob is missing (character 1 of '')"),
        ("times=1,", "a knob is missing (character 9 of 'times=1,')"),
        (
            "times=1, tims=2",
            "no such knob: 'tims' (character 10 of 'times=1, tims=2'). Perhaps times",
        ),
        ("times", "a knob has no value: 'times' (character 1 of 'times'). Write times=1."),
        ("times=", "a knob has no value: 'times' (character 1 of 'times=')"),
        ("times=1,space=2,times=3", "a knob is given twice: 'times' (character 17 of"),
        ("space=1,times=x", "times is not a whole number: 'x' (times, character 9 of"),
        ("times=1.5", "times is not a whole number: '1.5'"),
        ("times=0x10", "times is not a whole number: '0x10'"),
        ("times=1_0", "times is not a whole number: '1_0'"),
        ("times=\u0661", "times is not a whole number"),
        ("probability=-1", "probability is not a whole number from 0: -1"),
        ("task_filter=maybe", "task_filter is not true or false: 'maybe'"),
        ("require=a b", "not a pattern: 'a b'"),
        ("require=a||b", "a pattern is empty"),
        ("=5", "a knob is missing"),
        ("10,100", "not a boot string of four numbers: '10,100'"),
    ],
)
def test_a_wrong_text_is_refused_with_the_place_and_the_cure(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        FaultAttr.parse(text)

    assert message in str(caught.value)
    assert str(caught.value).startswith("faultinject: ")
    assert str(caught.value).endswith("[spec]")


@pytest.mark.parametrize("value", [None, 5, b"times=1"])
def test_a_spec_is_text(value: object) -> None:
    with pytest.raises(SpecError, match="a spec is not text"):
        FaultAttr.parse(value)  # type: ignore[arg-type]


def test_numbers_of_a_boot_string_wrap_around_as_in_c() -> None:
    knobs = parse_boot(f"{2**64 + 3},1,{2**31},{2**32 - 1}")

    assert knobs == {"interval": 3, "probability": 1, "space": -(2**31), "times": -1}


def test_a_spec_names_capabilities_with_their_knobs() -> None:
    found = parse_spec(" failslab:interval=3,times=-1 ;fail_page_alloc:min_order=2", GATES)

    assert found == [
        ("failslab", {"interval": 3, "times": -1}),
        ("fail_page_alloc", {"min_order": 2}),
    ]


def test_a_capability_alone_has_no_knobs() -> None:
    assert parse_spec("failslab", GATES) == [("failslab", {})]


def test_a_boot_string_can_stand_behind_a_capability() -> None:
    assert parse_spec("failslab:10,100,0,-1", GATES) == [
        ("failslab", {"interval": 10, "probability": 100, "space": 0, "times": -1})
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a capability is missing (character 1 of '')"),
        ("failslab;", "a capability is missing (character 10 of"),
        ("failslb", "no such capability: 'failslb' (character 1 of 'failslb'). Perhaps failslab"),
        ("zzz", "Give one of fail_page_alloc, failslab."),
        ("failslab;failslab", "a capability is given twice: 'failslab' (character 10 of"),
        ("failslab:", "a knob is missing (character 10 of 'failslab:')"),
        ("failslab:min_order=2", "no such knob: 'min_order' (character 10 of"),
        (
            "failslab:interval=3;fail_page_alloc:min_orde=2",
            "no such knob: 'min_orde' (character 37 of 'failslab:interval=3;fail_page_alloc:"
            "min_orde=2'). Perhaps min_order",
        ),
    ],
)
def test_a_wrong_spec_is_refused_with_the_place_in_the_whole_text(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, GATES)

    assert message in str(caught.value)
