"""Pictures as PNG files in Base64: smooth colours with some noise, so that they compress as photographs do, a little."""

import base64
import random
import struct
import zlib


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def cases(size, seed):
    draw = random.Random(seed)
    height = size * 3 // 4
    for _ in range(2):
        tint = draw.randint(0, 200)
        rows = []
        for y in range(height):
            noise = draw.randbytes(size)
            rows.append(bytes(
                value
                for x in range(size)
                for value in (x * 200 // size + noise[x] % 24, y * 200 // height + noise[x] % 16, tint + noise[x] % 48)
            ))
        yield base64.b64encode(png(size, height, rows)).decode()
