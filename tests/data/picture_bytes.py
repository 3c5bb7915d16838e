"""Pictures of a few pixels, and pieces of files that no library writes."""

import struct
import zlib

import numpy as np

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (24, 30)).astype(np.uint8)
COLOUR = RANDOM.integers(0, 256, (24, 30, 3)).astype(np.uint8)
GREY[0, 0], COLOUR[0, 0] = 0, 0
GREY[0, 1], COLOUR[0, 1] = 255, 255


def chunk(name, data):
    """Of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(pixels, bits=16, extra=()):
    """A grey TIFF (H, W) uint16 with tags (number, value) of its own, its values as they are, or packed as 12 bits."""
    height, width = pixels.shape
    if bits == 12:
        one, other = pixels.reshape(-1, 2).T.astype(int)
        data = np.stack([one >> 4, (one & 15) << 4 | other >> 8, other & 255], 1).astype(np.uint8).tobytes()
    else:
        data = pixels.astype("<u2").tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (277, 1), (278, height), *extra]
    tags += [(273, 8 + 2 + 12 * (len(tags) + 2) + 4), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data
