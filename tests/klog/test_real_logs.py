"""Logs that people sent to mailing lists: every report is found, and no figure misread.

The logs are not part of the project. They are looked for in the folder that
``FAULTINJECT_LOGS`` names, else beside the checkout.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from faultinject.klog.reading import read_reports

_HERE = Path(__file__).parent
_BESIDE = _HERE.parents[2] / "shared" / "data" / "dmesg"
_LOGS = Path(os.environ.get("FAULTINJECT_LOGS") or _BESIDE)

pytestmark = pytest.mark.skipif(
    not any(_LOGS.glob("*.txt")), reason=f"no logs: set FAULTINJECT_LOGS, or put some in {_LOGS}"
)


def _expected() -> list[dict[str, Any]]:
    reports = tomllib.loads((_HERE / "real_logs.toml").read_text())["report"]
    assert isinstance(reports, list)
    return reports


@pytest.mark.parametrize("log", sorted({report["log"] for report in _expected()}))
def test_every_report_is_found_and_every_figure_is_the_one_in_the_log(log: str) -> None:
    if not (_LOGS / log).exists():
        pytest.skip(f"{log} is not in {_LOGS}")
    found = []
    with (_LOGS / log).open("rb") as stream:
        for report in read_reports(stream):
            zones = [
                [
                    zone.node,
                    zone.zone,
                    *(zone.figures[name] for name in ("free", "min", "low", "high")),
                    list(zone.reserve or ()),
                    [-1 if count is None else count for count in zone.blocks or ()],
                ]
                for zone in report.zones
            ]
            slab, vmalloc = report.slab, report.vmalloc
            facts = {
                "log": log,
                "line": report.line,
                "kind": report.kind.name,
                "comm": report.comm,
                "order": report.order,
                "mode": report.mode,
                "kernel": report.kernel,
                "cache": report.cache,
                "slab": slab
                and [
                    *(slab.object_size, slab.buffer_size, slab.default_order, slab.min_order),
                    [list(node) for node in slab.nodes],
                ],
                "vmalloc": vmalloc and [report.size, vmalloc.failed],
                "zones": zones or None,
            }
            found.append({name: value for name, value in facts.items() if value is not None})

    assert found == [report for report in _expected() if report["log"] == log]
