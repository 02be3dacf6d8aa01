"""What a replay token carries besides its fault: the options that decide what a trial is.

Lives here: from options to what a token carries, and back. Not here: a token's grammar
(`faultinject.campaign.replay`), all other options (``.setup``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from faultinject.campaign.choice import Choice
from faultinject.campaign.oracles.selection import ALL, Oracles, write_oracles
from faultinject.campaign.replay import PlannedToken, RandomToken, Token
from faultinject.campaign.settings import Settings
from faultinject.engine.spec import split
from pytest_faultinject.options import read_text

_CALLS: Final = "fail_function"


def token_options(
    values: Mapping[str, Any], calls: Choice | None, oracles: Oracles
) -> dict[str, str]:
    """Give what a replay must know besides the fault, where it is not the default."""
    carried = {
        "source": "\n".join(values["source"] or ()),
        "omit": "\n".join(values["omit"] or ()),
        "phases": "" if values["phases"] == "call" else values["phases"],
        "identity": "" if values["identity"] in ("instruction", "all") else values["identity"],
        # A SPEC of bare names says no more than the token's own capability.
        "spec": "\n".join(
            spec for spec in values["spec"] or () if ":" in spec and "probability" not in spec
        ),
        "function": "" if calls is None else "|".join(values["function"]),
        # What sees calls allocates in every run where faults may come one after the other.
        "order": "2" if calls is not None and values["order"] > 1 else "",
        "strict": "Y" if values["strict"] else "",
        "timeout": "" if values["timeout"] is None else f"{values['timeout']:g}",
        "fork-after": "" if values["fork-after"] == "session" else values["fork-after"],
        "oracle": "" if oracles == ALL else write_oracles(oracles),
    }
    return {name: value for name, value in carried.items() if value}


def carried_code(config: pytest.Config, settings: Settings) -> dict[str, str]:
    """Give whose allocations fail, where a replay would not find that out by itself."""
    root = config.rootpath
    if settings.scope.sources or settings.own_code == (str(root),):
        return {}
    return {"own": "\n".join(_below(root, text) for text in settings.own_code)}


def own_code_of(config: pytest.Config, token: Token) -> tuple[str, ...]:
    """Give whose allocations failed where a token was made."""
    texts = token.options.get("own")
    root = config.rootpath
    if texts is None:
        return (str(root),)
    return tuple(str(root / text) if text.startswith(".") else text for text in texts.split("\n"))


def _below(root: Path, text: str) -> str:
    inside = os.path.isabs(text) and os.path.commonpath([root, text]) == str(root)
    return f"./{os.path.relpath(text, root)}" if inside else text


def apply_token(values: dict[str, Any], names: dict[str, str], token: Token) -> None:
    """Let a token decide what it carries; the options it does not carry stay."""
    carried: dict[str, Any] = {
        name: text.split("\n") if name in ("source", "omit", "spec") else text
        for name, text in token.options.items()
        if name in ("source", "omit", "spec", "phases", "identity", "oracle", "fork-after")
    }
    values["function"] = None
    if isinstance(token, RandomToken):
        carried.update(spec=[token.spec], seed=token.seed)
    else:
        own = [text for text in carried.get("spec", ()) if _names(text) & token.capabilities]
        spelled = any(_CALLS in _names(text) for text in own)
        carried["function"] = None if spelled else _carried_calls(token)
        carried["order"] = 2 if token.after is not None or "order" in token.options else 1
        named = {name for text in own for name in _names(text)} | {_CALLS}
        carried["spec"] = own + sorted(token.capabilities - named) or None
    if "strict" in token.options:
        carried["strict"] = True
    if "timeout" in token.options and values["timeout"] is None:
        carried["timeout"] = read_text("timeout", token.options["timeout"], names["replay"])
    values.update(carried)
    names.update(dict.fromkeys(carried, names["replay"]))


def _carried_calls(token: PlannedToken) -> list[str] | None:
    """Give what `--fail-function` has to say for a token's faults to be found again."""
    if _CALLS not in token.capabilities and "order" not in token.options:
        return None
    if "function" in token.options:
        return split(token.options["function"], "|")
    faults = [fault for fault in token.chain if fault.error]
    return [f"{fault.caller}:{fault.error}" for fault in faults]


def _names(spec: str) -> set[str]:
    """Give the capabilities that a SPEC names."""
    return {part.partition(":")[0].strip() for part in split(spec, ";")}
