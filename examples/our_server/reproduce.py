"""Our server's failure again: its log in, the refusal explained, a way around it tried.

Run it with ``python examples/our_server/reproduce.py``.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import faultinject as fi
from faultinject.cli import main as faultinject

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from our_server.mail_index import Index, PatientIndex

LOG = Path(__file__).with_name("server.log")
MAILS = 2048


def server(kernel: str = "2.6.32") -> fi.Memory:
    """Make a memory in the state of the server, as its log shows it."""
    return fi.Memory.from_show_mem(LOG.read_text(encoding="ascii"), kernel=kernel)


def main() -> int:
    print("What the log says:\n", flush=True)
    if faultinject(["explain", str(LOG)]) != 0:
        return 1
    # The kernel names the task; here that is the thread.
    threading.current_thread().name = "imap"
    memory = server()
    print("\nThe same request of a memory in that state:\n", flush=True)
    with fi.use_memory(memory):
        try:
            Index(MAILS)
        except MemoryError as error:
            print(f"\n  MemoryError: {error}")
        else:
            print("\n  it passes, and should not")
            return 1
        patient = PatientIndex(MAILS)
        print(f"\nIn single pages it fits: {patient.pieces} of them.")
        patient.close()
    print("\nZone DMA32, step by step, by the rule of that kernel and by today's:")
    for kernel in ("2.6.32", "6.6"):
        print(f"\n{fi.mm.watermark.check(server(kernel).zones['DMA32'], 4, mark='min')}")
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="  %(message)s", stream=sys.stdout)
    sys.exit(main())
