"""All capabilities by name: ours, and those of other packages.

Lives here: the list, and the loading of entry points. Not here: the hook that another
package implements (`faultinject.capabilities.hookspecs`).

Entry points are loaded at the first look-up of anything, not at import. Reset: none; a
capability that a test has registered is taken out with `unregister`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from faultinject.capabilities.arming import OWN_KNOBS
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine import spec, task
from faultinject.errors import CapabilityError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pluggy import PluginManager

ENTRY_POINTS: Final = "faultinject"
"""The group of entry points in which other packages name their plugins."""

_OWN: Final = "faultinject"
_known: Final[dict[str, tuple[Capability, str]]] = {}
_loaded = False
_plugins: PluginManager | None = None


def register(capability: Capability, *, origin: str = "a call of register()") -> None:
    """Add a capability.

    Args:
        capability: an instance, whose name must be new.
        origin: who adds it, for messages.

    Raises:
        CapabilityError: it is not a `Capability`, or another has its name.
    """
    if not isinstance(capability, Capability):
        raise CapabilityError(
            "this is not a capability",
            value=capability,
            where=origin,
            cure="Give an instance of a class that derives from Capability",
        )
    with task.lock:
        other, theirs = _known.get(capability.name, (None, ""))
        if other is capability:
            return
        if other is not None:
            raise CapabilityError(
                "two capabilities have one name",
                value=capability.name,
                where=f"{theirs}, and {origin}",
                cure="Rename one, or uninstall one of the packages",
            )
        _known[capability.name] = (capability, origin)


def unregister(name: str) -> None:
    """Take a capability out.

    Raises:
        CapabilityError: there is none of this name.
    """
    get(name)
    with task.lock:
        _known.pop(name, None)


def get(name: str) -> Capability:
    """The capability of this name.

    Raises:
        CapabilityError: there is none, or an installed package could not be loaded.
    """
    _load()
    found = _known.get(name)
    if found is None:
        raise CapabilityError("no such capability", value=name, cure=spec.near(name, _known))
    return found[0]


def names() -> list[str]:
    """The names of all capabilities, sorted."""
    _load()
    return sorted(_known)


def all() -> list[Capability]:  # noqa: A001  # read as registry.all()
    """All capabilities, sorted by name."""
    return [_known[name][0] for name in names()]


def origin(name: str) -> str:
    """Who added the capability of this name: "faultinject", or a distribution."""
    get(name)
    return _known[name][1]


def knobs(name: str) -> Mapping[str, spec.Kind]:
    """The knobs of a capability's armings besides those of every fault attribute."""
    return OWN_KNOBS | {gate: own.kind for gate, own in get(name).gates.items()}


def parse_spec(text: str) -> list[tuple[str, dict[str, object]]]:
    """Read a spec text that names capabilities, such as ``failslab:times=-1;fail_futex``.

    Returns:
        The capabilities' names in the order of the text, each with its knobs.

    Raises:
        SpecError: naming the character at which it cannot be understood.
    """
    return spec.parse_spec(text, {name: knobs(name) for name in names()})


def call(hook: str) -> list[tuple[str, Any]]:
    """What each installed package answers to a hook of ours, with the name of its origin.

    Raises:
        CapabilityError: a package could not be loaded, or its answer raised.
    """
    _load()
    if _plugins is None:
        return []
    answers = []
    for implementation in getattr(_plugins.hook, hook).get_hookimpls():
        try:
            answers.append((implementation.plugin_name, implementation.function()))
        except Exception as error:
            raise _broken(implementation.plugin_name, error) from error
    return answers


def _load() -> None:
    global _loaded
    with task.lock:
        if not _loaded:
            _load_entry_points()
            # Only now: a look-up after a failed one fails the same way again.
            _loaded = True


def _load_entry_points() -> None:
    global _plugins
    from importlib.metadata import entry_points

    import pluggy

    from faultinject.capabilities import hookspecs

    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    found = sorted(entry_points(group=ENTRY_POINTS), key=_origin_of)
    for entry_point in dict.fromkeys(found):  # a folder may be on the path twice
        who = _origin_of(entry_point)
        try:
            plugin = entry_point.load()
            plugins.register(plugin, name=who)
            # A plugin that marks nothing, or misspells the hook, adds nothing silently.
            plugins.check_pending()
            hooks = plugins.get_hookcallers(plugin)
        except Exception as error:
            raise _broken(who, error) from error
        if not hooks:
            raise CapabilityError(
                "an installed package implements no hook of faultinject",
                value=entry_point.value,
                where=who,
                cure="Mark faultinject_capabilities with hookimpl, or uninstall the package",
            )
    _plugins = plugins
    for implementation in plugins.hook.faultinject_capabilities.get_hookimpls():
        who = implementation.plugin_name
        try:
            added = list(cast(Iterable[Capability], implementation.function()))
        except Exception as error:
            raise _broken(who, error) from error
        for capability in added:
            register(capability, origin=who)


def _broken(who: str, error: Exception) -> CapabilityError:
    return CapabilityError(
        "an installed package could not be loaded",
        value=error,
        where=who,
        cure="Repair or uninstall the package",
    )


def _origin_of(entry_point: EntryPoint) -> str:
    package = entry_point.dist
    whose = f"{package.name} {package.version}" if package else "an unknown distribution"
    return f"entry point {entry_point.name!r} of {whose}"


register(failslab, origin=_OWN)
register(fail_page_alloc, origin=_OWN)
