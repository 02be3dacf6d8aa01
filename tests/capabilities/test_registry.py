"""The registry, and capabilities of other packages. Those live in subprocesses."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from faultinject.capabilities import registry
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import Failslab, failslab
from faultinject.errors import CapabilityError

EXAMPLE = Path(__file__).parents[2] / "examples" / "fail_gpio_request"


class Probe(Capability):
    name = "fail_registry_probe"
    unit = "probes"
    doc = "A probe."


def test_our_capabilities_are_known_by_name() -> None:
    assert registry.get("failslab") is failslab
    assert registry.get("fail_page_alloc") is fail_page_alloc
    assert {"failslab", "fail_page_alloc"} <= set(registry.names())
    assert registry.names() == sorted(registry.names())
    assert [capability.name for capability in registry.all()] == registry.names()
    assert registry.origin("failslab") == "faultinject"


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(CapabilityError, match="no such capability: 'failslb'"):
        registry.get("failslb")


def test_a_capability_can_be_registered_and_taken_out() -> None:
    probe = Probe()
    registry.register(probe)
    registry.register(probe)
    try:
        found = registry.get("fail_registry_probe")
    finally:
        registry.unregister("fail_registry_probe")

    assert found is probe
    assert "fail_registry_probe" not in registry.names()
    with pytest.raises(CapabilityError):
        registry.unregister("fail_registry_probe")


def test_a_second_capability_of_a_name_is_refused() -> None:
    with pytest.raises(CapabilityError, match=r"one name: 'failslab' \(faultinject, and a call"):
        registry.register(Failslab())


def test_what_is_no_capability_is_refused() -> None:
    with pytest.raises(CapabilityError, match="this is not a capability"):
        registry.register("failslab")  # type: ignore[arg-type]


def test_a_spec_is_read_with_the_gates_of_all_capabilities() -> None:
    found = registry.parse_spec("fail_page_alloc:min_order=2,nth=3;failslab:cache_filter=Y")

    assert found == [
        ("fail_page_alloc", {"min_order": 2, "nth": 3}),
        ("failslab", {"cache_filter": True}),
    ]


def install(site: Path, name: str, entry_points: str, **modules: str) -> None:
    """Lay out what an installer would: modules, and a dist-info with entry points."""
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source, "utf-8")
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[faultinject]\n{entry_points}\n", "utf-8")


def run(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )


def error_of(site: Path, code: str = "registry.names()") -> str:
    result = run(site, f"from faultinject.capabilities import registry\n{code}")
    assert result.returncode == 1, result.stdout
    return result.stderr.strip().splitlines()[-1]


def test_the_example_package_is_found_through_its_entry_point(tmp_path: Path) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))
    entries = project["project"]["entry-points"]["faultinject"]
    install(
        tmp_path,
        project["project"]["name"],
        "\n".join(f"{name} = {value}" for name, value in entries.items()),
        **{
            module: (EXAMPLE / f"{module}.py").read_text("utf-8")
            for module in project["tool"]["setuptools"]["py-modules"]
        },
    )

    result = run(
        tmp_path,
        """
import faultinject as fi
from faultinject.capabilities import registry
import board
print(registry.names(), registry.origin("fail_gpio_request"))
with fi.fail_alloc("fail_gpio_request:nth=1,first_line=5,verbose=0") as armed:
    print(board.open_lamp(3, 5), board.taken())
(injection,) = armed.injections
print(injection.site.function, injection.unit)
print(board.open_lamp(3, 5), board.taken())
with fi.fail_alloc():
    print(board.gpio_request(0))
""",
    )

    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "['fail_function', 'fail_gpio_request', 'fail_page_alloc', 'fail_pymem', 'failslab'] "
        "entry point 'fail_gpio_request' of fail-gpio-request 1.0",
        "-16 []",
        "open_lamp lines",
        "0 [3, 5]",
        "0",
    ]


PLUGIN = """
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.hookspecs import hookimpl
class Probe(Capability):
    name, unit, doc = "{name}", "probes", "A probe."
@hookimpl
def faultinject_capabilities():
    return [Probe()]
"""


def test_two_packages_with_one_name_are_both_named(tmp_path: Path) -> None:
    install(tmp_path, "one", "a = one", one=PLUGIN.format(name="fail_x"))
    install(tmp_path, "two", "b = two", two=PLUGIN.format(name="fail_x"))

    message = error_of(tmp_path)

    assert "two capabilities have one name: 'fail_x'" in message
    assert "entry point 'a' of one 1.0, and entry point 'b' of two 1.0" in message


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "ModuleNotFoundError(\"No module named 'no_such_module'\")"),
        ("", "implements no hook of faultinject: 'broken'"),
        (PLUGIN.format(name="failslab"), "two capabilities have one name: 'failslab'"),
        (PLUGIN.format(name="Bad Name"), "not a name for a capability"),
        (PLUGIN.format(name="fail_x").replace("[Probe()]", "[Probe]"), "this is not a capability"),
        (PLUGIN.format(name="fail_x").replace("[Probe()]", "None"), "could not be loaded"),
        (PLUGIN.format(name="fail_x").replace("_capabilities():", "_capability():"), "broken"),
    ],
)
def test_a_broken_package_is_named_with_its_distribution(
    tmp_path: Path, source: str, message: str
) -> None:
    install(tmp_path, "broken-one", "broken = broken", broken=source)

    error = error_of(tmp_path)

    assert message in error
    assert "entry point 'broken' of broken-one 1.0" in error
    assert "[capability]" in error


def test_a_broken_package_is_an_error_at_every_look_up(tmp_path: Path) -> None:
    install(tmp_path, "broken-one", "broken = broken", broken="import no_such_module")

    error = error_of(
        tmp_path,
        "try: registry.names()\nexcept Exception as first: pass\nregistry.get('failslab')",
    )

    assert "broken-one" in error


def test_a_broken_package_does_not_disturb_a_capability_that_is_used_directly(
    tmp_path: Path,
) -> None:
    install(tmp_path, "broken-one", "broken = broken", broken="import no_such_module")

    result = run(tmp_path, "import faultinject as fi\nwith fi.failslab: print('armed')")

    assert (result.stdout, result.stderr) == ("armed\n", "")
