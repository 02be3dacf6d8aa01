"""Explanations as JSON, schema 1.

Lives here: the document, all of whose keys are always there. Not here: what the values
mean (`faultinject.klog.explain`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from textwrap import indent
from typing import Any, Final

from faultinject.klog.explain import Explanation
from faultinject.klog.reports import SlabFigures
from faultinject.klog.zone_check import ZoneCheck

SCHEMA: Final = 1


def as_json(explanations: Iterable[Explanation]) -> dict[str, Any]:
    """Give the document for all reports of a log."""
    return {"schema": SCHEMA, "reports": [_report(each) for each in explanations]}


def json_pieces(explanations: Iterable[Explanation]) -> Iterator[str]:
    """Give the same as text: the head, each report, the end. A log may have any number."""
    yield f'{{\n  "schema": {SCHEMA},\n  "reports": ['
    before = "\n"
    for each in explanations:
        yield before + indent(json.dumps(_report(each), indent=2), "    ")
        before = ",\n"
    yield "]\n}\n" if before == "\n" else "\n  ]\n}\n"


def _report(found: Explanation) -> dict[str, Any]:
    report = found.report
    return {
        "line": report.line,
        "kind": report.kind.value,
        "comm": report.comm,
        "order": report.order,
        "mode": None if report.mode is None else f"{report.mode:#x}",
        "gfp": list(found.flags.names),
        "kernel": None if found.release is None else found.release.text,
        "rule": found.rule,
        "cache": report.cache,
        "size": report.size,
        "slab": None if report.slab is None else _slab(report.slab),
        "vmalloc": None if report.vmalloc is None else asdict(report.vmalloc),
        "zones": [_zone(check) for check in found.zones],
        "cause": found.cause,
        "would_pass": dict(found.would_pass),
        "consistent": found.consistent,
        "candidates": list(found.candidates),
        "cures": list(found.cures),
        "findings": list(found.findings),
        "remarks": list(found.remarks),
    }


def _slab(slab: SlabFigures) -> dict[str, Any]:
    return {**asdict(slab), "nodes": [each._asdict() for each in slab.nodes]}


def _zone(check: ZoneCheck) -> dict[str, Any]:
    zone = check.zone
    figures = {
        f"{name}_kb": zone.figures.get(name)
        for name in ("free", "min", "low", "high", "boost", "present", "managed")
    }
    return {
        "node": zone.node,
        "zone": zone.zone,
        **figures,
        "lowmem_reserve": None if zone.reserve is None else list(zone.reserve),
        "blocks": None if zone.blocks is None else list(zone.blocks),
        "verdict": check.verdict,
        "reason": check.reason,
        "at_order": check.at_order,
        "steps": [
            {"order": step.order, "free": step.free, "min": step.min, "ok": step.ok}
            for step in check.steps
        ],
    }
