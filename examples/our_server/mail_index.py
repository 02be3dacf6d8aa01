"""The index of a mailbox: a table of fixed entries, as an IMAP server keeps it in memory.

`Index` asks for the whole table in one piece. `PatientIndex` does so as well, but can live
with pieces: where a large block cannot be had, single pages often can.
"""

from __future__ import annotations

import faultinject as fi

ENTRY = 32
"""Bytes of an entry."""
PER_PIECE = 4096 // ENTRY


class Index:
    """A table in one piece."""

    def __init__(self, entries: int) -> None:
        table = fi.kcalloc(entries, ENTRY, fi.GFP_KERNEL)
        if table is None:
            raise MemoryError(f"no room for the index of {entries} mails")
        self._table = table

    def put(self, number: int, entry: bytes) -> None:
        self._table[number * ENTRY : number * ENTRY + len(entry)] = entry

    def get(self, number: int) -> bytes:
        return bytes(self._table[number * ENTRY : (number + 1) * ENTRY])

    def close(self) -> None:
        fi.kfree(self._table)


class PatientIndex:
    """The same, in pieces where it must be."""

    def __init__(self, entries: int) -> None:
        self._pieces: list[fi.Pointer] = []
        # A refusal of this one is no news: there is another way.
        table = fi.kcalloc(entries, ENTRY, fi.GFP_KERNEL | fi.Gfp.NOWARN | fi.Gfp.NORETRY)
        self._per_piece = entries if table is not None else PER_PIECE
        if table is not None:
            self._pieces.append(table)
            return
        for _ in range(-(-entries // PER_PIECE)):
            piece = fi.kcalloc(PER_PIECE, ENTRY, fi.GFP_KERNEL)
            if piece is None:
                self.close()
                raise MemoryError(f"no room for the index of {entries} mails")
            self._pieces.append(piece)

    @property
    def pieces(self) -> int:
        """How many blocks the table is in."""
        return len(self._pieces)

    def put(self, number: int, entry: bytes) -> None:
        piece, at = divmod(number, self._per_piece)
        self._pieces[piece][at * ENTRY : at * ENTRY + len(entry)] = entry

    def get(self, number: int) -> bytes:
        piece, at = divmod(number, self._per_piece)
        return bytes(self._pieces[piece][at * ENTRY : (at + 1) * ENTRY])

    def close(self) -> None:
        while self._pieces:
            fi.kfree(self._pieces.pop())
