"""TensorBoard's event files read by their format alone: records of TFRecord, each a protocol buffer `Event`.

A record is the length of its bytes (8 bytes, little-endian), a checksum of these, the bytes, a checksum of them. Of an Event
the fields are 1 wall_time (float64), 2 step, 3 file_version, 5 summary, 7 session_log; of a Summary 1 value, repeated; of a
Value 1 tag, 2 simple_value (float32). A checksum is CRC-32C (Castagnoli), turned right by 15 bits, plus a constant.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def checksum(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path) -> Iterator[bytes]:
    """The records of a file; ValueError where a checksum is another or the file ends inside one."""
    data = path.read_bytes()
    while data:
        head, data = data[:12], data[12:]
        length, check = struct.unpack("<QI", head)
        body, data = data[:length], data[length:]
        if check != checksum(head[:8]) or len(data) < 4 or struct.unpack("<I", data[:4])[0] != checksum(body):
            raise ValueError(f"{path}: a record is damaged")
        data = data[4:]
        yield body


def fields(body: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, content) of each field of a message: bytes, or an integer."""
    while body:
        key, body = integer(body)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, body = integer(body)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, body = integer(body)
        yield number, body[:size]
        body = body[size:]


def integer(body: bytes) -> tuple[int, bytes]:
    """The integer that bytes begin with, seven bits a byte, and the rest."""
    value, shift = 0, 0
    while True:
        value |= (body[0] & 127) << shift
        more, body, shift = body[0] & 128, body[1:], shift + 7
        if not more:
            return value, body


def events(path: Path) -> list[tuple[float, int, dict[str, float]]]:
    """(wall time, step, scalars by tag) of every event with a summary, in order."""
    found = []
    for body in records(path):
        parts = dict(fields(body))
        if 5 in parts:
            values = [dict(fields(value)) for number, value in fields(parts[5]) if number == 1]
            scalars = {value[1].decode(): struct.unpack("<f", value[2])[0] for value in values}
            assert len(scalars) == len(values)
            found.append((struct.unpack("<d", parts[1])[0], parts.get(2, 0), scalars))
    return found
