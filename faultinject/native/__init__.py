"""Failures of the real interpreter's memory, through hooks of CPython's allocators.

Lives here: the names of the sub-package. `Census` counts the call sites that allocate,
`Strike` fails one of them, `RuleArming` lets a fault attribute decide. What fails gets
NULL from the allocator, and CPython raises its own ``MemoryError``. Not here: the
capability (`faultinject.capabilities`), the campaign (`faultinject.campaign`).

Importing it is harmless everywhere. Where the C module cannot be used,
`why_unavailable` gives the reason, and entering an arming raises it.
"""

from faultinject.native.arming import NativeArming, paused
from faultinject.native.census import Census
from faultinject.native.core import call_sites_unavailable, why_unavailable
from faultinject.native.places import HARNESS, CodeScope
from faultinject.native.requests import DOMAINS, PROFILES, Requests
from faultinject.native.rule import RuleArming
from faultinject.native.site import NativeEvent, NativeSite
from faultinject.native.strike import Strike, Target
from faultinject.native.veto import VETOED

__all__ = [
    "DOMAINS",
    "HARNESS",
    "PROFILES",
    "VETOED",
    "Census",
    "CodeScope",
    "NativeArming",
    "NativeEvent",
    "NativeSite",
    "Requests",
    "RuleArming",
    "Strike",
    "Target",
    "call_sites_unavailable",
    "paused",
    "why_unavailable",
]
