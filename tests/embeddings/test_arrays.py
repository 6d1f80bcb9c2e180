"""Files of arrays: each kind gives the numbers that were put in; what cannot be read is one line."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab import SettingError
from dynlab.embeddings import given, passes
from dynlab.embeddings.arrays import OnDisk, read_array
from dynlab.tools.files import FolderError
from dynlab.tools.parquet import write_parquet
from tests import naive_tensors

Z = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


def parquet(path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra arrays)")
    write_parquet(path, pd.DataFrame(Z, columns=list("abcd")))


def lists(path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra arrays)")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": list(range(40)), "z": [list(map(float, row)) for row in Z]}), path)


def tensors(path):
    naive_tensors.write(path, {"z": Z, "other": Z[:1]})


WRITTEN = {
    "npy": lambda path: np.save(path, Z),
    "npy by columns": lambda path: np.save(path, np.asfortranarray(Z)),
    "npy of halves of numbers the other way round": lambda path: np.save(path, Z.astype(">f4")),
    "npz of one": lambda path: np.savez(path, anything=Z),
    "npz of several": lambda path: np.savez_compressed(path, z=Z, other=Z[:1]),
    "csv": lambda path: np.savetxt(path, Z, delimiter=","),
    "csv with names": lambda path: pd.DataFrame(Z, columns=list("abcd")).to_csv(path, index=False),
    "parquet": parquet,
    "parquet of lists": lists,
    "safetensors": tensors,
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_file_gives_the_numbers_that_were_put_in(kind, tmp_path):
    path = tmp_path / f"z.{kind.split()[0]}"
    WRITTEN[kind](path)
    np.testing.assert_allclose(read_array("z", path), Z, rtol=1e-6)
    assert dynlab.diagnose(path).rank == pytest.approx(dynlab.diagnose(Z).rank, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_an_npy_file_is_read_in_blocks_and_gives_the_same(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(given, "BLOCK", 64)
    stack = np.stack([Z * (1 + t) + t for t in range(steps)]) if steps > 1 else Z
    np.save(tmp_path / "z.npy", stack)
    opened = given.embeddings(tmp_path / "z.npy").steps
    assert len(opened) == steps and all(isinstance(one, OnDisk) and len(one) == 40 for one in opened)
    for one, whole in zip(opened, stack.reshape(steps, 40, 4), strict=True):
        np.testing.assert_array_equal(np.concatenate(list(passes.blocks(one))), whole)
        np.testing.assert_array_equal(one[np.array([3, 39, 0])], whole[[3, 39, 0]])
    found, known = dynlab.diagnose(tmp_path / "z.npy"), dynlab.diagnose(stack)
    assert found.ranks == known.ranks and found.unit_sd == known.unit_sd and found.text == known.text


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0\n1\n0\n1\n", ["0", "1", "0", "1"]),
        ("cat\ndog\ncat\ndog\n", ["cat", "dog", "cat", "dog"]),
        ("label\ncat\ndog\n", ["cat", "dog"]),
        ("kind\n0\n1\n", ["0", "1"]),
    ],
)
def test_labels_of_a_csv_file(tmp_path, text, labels):
    (tmp_path / "y.csv").write_text(text)
    assert [str(one) for one in read_array("labels", tmp_path / "y.csv")] == labels


BAD = {
    "several": (
        "z.npz",
        lambda path: np.savez(path, a=Z, b=Z),
        "must be a file with one array, or with one that is called z: it holds a, b",
    ),
    "objects": ("z.npz", lambda path: np.savez(path, a=np.array([None, 1])), "this one holds objects"),
    "objects in npy": ("z.npy", lambda path: np.save(path, np.array([None, 1])), "this one holds objects"),
    "no npy": ("z.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01"), "z.npy: cannot be read"),
    "cut": ("z.npy", lambda path: (np.save(path, Z), path.write_bytes(path.read_bytes()[:-9])), "z.npy: cannot be read"),
    "no npz": ("z.npz", lambda path: path.write_bytes(b"PK"), "z.npz: cannot be read"),
    "empty": ("z.csv", lambda path: path.write_text(""), "z.csv: is empty"),
    "words": ("z.csv", lambda path: path.write_text("a,b\n1,2\n3,x\n"), "must be numbers alone: column b holds others"),
    "bytes": ("z.csv", lambda path: path.write_bytes(b"\xff\xfe\x00\x01"), "z.csv: cannot be read"),
    "no tensors": (
        "z.safetensors",
        lambda path: path.write_bytes(b"1234567"),
        "z.safetensors: cannot be read (no safetensors",
    ),
    "several tensors": (
        "z.safetensors",
        lambda path: naive_tensors.write(path, {"a": Z, "b": Z}),
        "must be a file with one array, or with one that is called z: it holds a, b",
    ),
    "a folder": ("z.npy", lambda path: path.mkdir(), "z.npy: cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line(name, tmp_path):
    file, write, message = BAD[name]
    write(tmp_path / file)
    with pytest.raises((SettingError, FolderError)) as refused:
        dynlab.diagnose(tmp_path / file)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_labels_have_one_column(tmp_path):
    (tmp_path / "y.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(SettingError, match="must be one column: it has 2"):
        read_array("labels", tmp_path / "y.csv")


@pytest.mark.parametrize(("suffix", "package"), [("parquet", "pyarrow")])
def test_a_package_that_is_not_there_is_told_by_its_extra(tmp_path, monkeypatch, suffix, package):
    (tmp_path / f"z.{suffix}").write_bytes(b"something")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingError, match=r"used with the extra arrays: python -m pip install 'dynlab-ssl\[arrays\]'$"):
        dynlab.diagnose(tmp_path / f"z.{suffix}")
