"""Files of safetensors: read and written as by hand; what is damaged is refused in a line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dynlab.tools.tensor_file import read_tensors, write_tensors
from tests import naive_tensors as naive

RNG = np.random.default_rng(0)
ARRAYS = {
    "a.weight": RNG.standard_normal((3, 4, 2)).astype(np.float32), "b": RNG.integers(0, 9, 5),
    "odd": np.arange(3, dtype=np.uint8),
    "half": RNG.standard_normal(7).astype(np.float16), "one": np.array(2.5), "none": np.empty((0, 4), np.float32),
    "truth": np.array([True, False]),
}  # fmt: skip


def test_what_is_written_is_read_by_hand_and_the_other_way_round(tmp_path):
    turned = ARRAYS | {"a.weight": np.asfortranarray(ARRAYS["a.weight"])}
    write_tensors(tmp_path / "x", turned)
    naive.write(tmp_path / "y", ARRAYS)  # of unaligned offsets
    for found in (naive.read(tmp_path / "x"), read_tensors(tmp_path / "x"), read_tensors(tmp_path / "y")):
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name
    raw = (tmp_path / "x").read_bytes()
    assert int.from_bytes(raw[:8], "little") % 8 == 0 and b'"format":"pt"' in raw[:200]
    write_tensors(tmp_path / "z", dict(reversed(ARRAYS.items())))
    assert (tmp_path / "z").read_bytes() == raw  # whatever the order


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    header = {"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}
    naive.raw_write(tmp_path / "x", json.dumps(header).encode(), bytes([0x80, 0x3F, 0x00, 0xC0, 0x20, 0x41]))
    found = read_tensors(tmp_path / "x")["x"]
    assert found.dtype == np.float32 and found.tolist() == [1.0, -2.0, 10.0]


def entry(**changed):
    return json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed}).encode()


BAD = {
    "cut": (b"123", "no safetensors, or cut short"),
    "long header": ((1 << 40).to_bytes(8, "little") + b"{}", "cut short"),
    "no json": (entry()[:-3], ""),
    "a list": (b"[1]", "its header holds no names"),
    "twins": (b'{"x": 1, "x": 2}', "a name stands twice"),
    "kind": (entry(dtype="F8"), "of a kind that is not known"),
    "entry": (b'{"x": 3}', "x: an entry of its header is damaged"),
    "negative": (entry(shape=[-2]), "x: shape and bytes do not fit"),
    "true": (entry(shape=[True, 2]), "x: shape and bytes do not fit"),
    "bytes": (entry(data_offsets=[0, 4]), "x: shape and bytes do not fit"),
    "gap": (entry(data_offsets=[4, 12]), "x does not begin where the one before it ends"),
    "more": (entry(shape=[1], data_offsets=[0, 4]), "it holds 8 bytes of numbers, and its header says 4"),
    "deep": (b'{"x": ' + b"[" * 100_000, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_damaged_is_one_line(name, tmp_path):
    content, message = BAD[name]
    if name in ("cut", "long header"):
        (tmp_path / "x").write_bytes(content)
    else:
        naive.raw_write(tmp_path / "x", content, b"12345678")
    with pytest.raises(ValueError) as refused:
        read_tensors(tmp_path / "x")
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_words_have_no_place(tmp_path):
    with pytest.raises(ValueError, match="x: <U1 has no place in safetensors"):
        write_tensors(tmp_path / "x", {"x": np.array(["a"])})
