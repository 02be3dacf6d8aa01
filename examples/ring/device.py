"""The network card: what its receive descriptors look like, and how long things are."""

import struct

import faultinject as fi

PAGE_BYTES = 4096
BUFFER_BYTES = 2048
# The address of a buffer, its length, flags, and a spare word: 16 bytes, as on most cards.
DESCRIPTOR = struct.Struct("<QHHI")
OWNED_BY_DEVICE = 0x0001


def hand_to_device(descriptors: fi.Pointer, index: int, buffer: fi.Pointer) -> None:
    """Write descriptor `index`, so that the device may fill `buffer`."""
    at = index * DESCRIPTOR.size
    entry = DESCRIPTOR.pack(buffer.address, len(buffer), OWNED_BY_DEVICE, 0)
    descriptors[at : at + DESCRIPTOR.size] = entry
