"""Every published format, from small files of the same kind; what is wrong with a file is said in one line.

With DYNLAB_DATA=FOLDER the real sets that lie there are read, too.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from dynlab.images.data import datasets
from dynlab.images.data.archives import DataError
from dynlab.images.data.augment import CIFAR_DEVIATION, CIFAR_MEAN
from dynlab.images.data.datasets import CATALOGUE, load
from dynlab.tools.checks import SettingError
from tests import naive_images as naive

REAL = os.environ.get("DYNLAB_DATA")
COUNTS = {"train": 6, "test": 4, "unlabelled": 7}
SIDE = {"cifar10": 4, "cifar100": 4, "stl10": 5, "mnist": 3, "fashion-mnist": 3}


class Small:
    """A set like a published one, of few and small pictures: its files as bytes, and the catalogue that describes it."""

    def __init__(self, name, kind=None):
        self.name, self.collection = name, CATALOGUE[name]
        self.layout = next(x for x in self.collection.layouts if kind in (None, x.kind))
        self.side, self.channels = SIDE[name], self.collection.shape[2]
        self.random = np.random.default_rng(len(name))
        self.pictures, self.labels, self.files = {}, {}, {}
        self.folds = self.random.integers(0, COUNTS["train"], (10, 3))
        splits = {split: self._split(split, parts) for split, parts in self.layout.splits.items()}
        archive = self.layout.archive and replace(self.layout.archive, md5=None)
        layout = replace(self.layout, splits=splits, counts=COUNTS, archive=archive)
        self.use(layout)

    def use(self, layout):
        """Describe the set by another layout."""
        self.layout = layout
        collection = replace(self.collection, shape=(self.side, self.side, self.channels), layouts=(layout,))
        self.catalogue = {self.name: collection}

    def _split(self, split, parts):
        files = 1 if self.layout.kind in ("idx", "separate") else len(parts)
        n = COUNTS[split] * files
        shape = (n, self.side, self.side, self.channels)
        self.pictures[split] = self.random.integers(0, 256, shape, np.uint8)
        self.labels[split] = self.random.integers(0, len(self.collection.classes), n)
        made = []
        for place, part in enumerate(parts):
            rows = slice(place * COUNTS[split], (place + 1) * COUNTS[split]) if files > 1 else slice(None)
            data = self._bytes(part.name, self.pictures[split][rows], self.labels[split][rows])
            self.files[part.name] = data
            size = None if part.size is None else len(data)
            md5 = None if part.md5 is None else hashlib.md5(data).hexdigest()
            made.append(replace(part, size=size, md5=md5))
        return tuple(made)

    def _bytes(self, name, pictures, labels):
        kind = self.layout.kind
        planes = [[bytes(p[..., c]) for c in range(self.channels)] for p in pictures]
        if kind == "planar":
            before = b"\x07" if self.layout.label_bytes == 2 else b""
            return b"".join(before + bytes([label]) + b"".join(p) for label, p in zip(labels, planes, strict=True))
        if kind == "pickle":
            data = np.frombuffer(b"".join(b"".join(p) for p in planes), np.uint8).reshape(len(pictures), -1)
            content = {b"batch_label": b"a batch", b"data": data, self.layout.label_key: [int(x) for x in labels]}
            return naive.python2_pickle(content | {b"filenames": [b"x.png"] * len(pictures)})
        if kind == "idx":
            if "idx3" in name:
                return struct.pack(">IIII", 0x803, len(pictures), self.side, self.side) + pictures.tobytes()
            return struct.pack(">II", 0x801, len(labels)) + bytes(list(labels))
        if name.endswith("_X.bin"):
            return b"".join(bytes(p[i, j, c] for c in range(3) for j in range(5) for i in range(5)) for p in pictures)
        if name.endswith("_y.bin"):
            return bytes(int(label) + 1 for label in labels)
        return b"".join(b" ".join(b"%d" % row for row in fold) + b" \n" for fold in self.folds)

    def write(self, folder, inside="", compressed=False):
        """Write the files into a folder."""
        place = folder / inside
        place.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            if compressed:
                (place / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (place / name).write_bytes(data)
        return folder

    def pack(self, folder, names=None):
        """Write the archive; its files in the opposite order, between others."""
        archive = self.layout.archive
        with tarfile.open(folder / archive.name, "w:gz") as tar:
            for name in reversed(list(self.files) if names is None else names):
                for what, data in ((f"{archive.inside}/{name}", self.files[name]), (f"other/{name}", b"no")):
                    info = tarfile.TarInfo(what)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        return folder

    def load(self, folder, split="train", **more):
        return load(self.name, folder, split, catalogue=self.catalogue, **more)

    def check(self, folder):
        """All splits are what was written."""
        for split in self.layout.splits:
            found = self.load(folder, split)
            assert np.array_equal(found.pictures, self.pictures[split])
            assert found.pictures.dtype == np.uint8 and found.pictures.flags.c_contiguous
            assert len(found) == len(self.pictures[split]) and found.name == self.name
            assert found.classes == self.collection.classes
            if split == "unlabelled":
                assert found.labels is None
            else:
                assert found.labels.dtype == np.int64 and np.array_equal(found.labels, self.labels[split])
            if self.layout.kind == "separate" and split == "train":
                assert found.folds.dtype == np.int64 and np.array_equal(found.folds, self.folds)
            else:
                assert found.folds is None


KINDS = [
    ("cifar10", "planar"), ("cifar10", "pickle"), ("cifar100", "planar"), ("cifar100", "pickle"), ("stl10", "separate"),
    ("mnist", "idx"), ("fashion-mnist", "idx"),
]  # fmt: skip
PACKED = [kind for kind in KINDS if kind[1] != "idx"]


def refused(call, *words):
    """The one line of the DataError that a call raises; it holds these words."""
    with pytest.raises(DataError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and "expected" in line and "found" in line
    for word in words:
        assert str(word) in line, line
    return line


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_files_in_the_folder(name, kind, tmp_path):
    small = Small(name, kind)
    small.check(small.write(tmp_path))


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_files_in_their_subfolder(name, kind, tmp_path):
    small = Small(name, kind)
    small.check(small.write(tmp_path, small.layout.folders[-1]))


@pytest.mark.parametrize(("name", "kind"), PACKED)
def test_files_in_the_archive(name, kind, tmp_path):
    small = Small(name, kind)
    small.check(small.pack(tmp_path))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_compressed_files(name, tmp_path):
    small = Small(name)
    small.check(small.write(tmp_path, compressed=True))


def test_two_sets_of_the_same_names(tmp_path):
    for name in ("mnist", "fashion-mnist"):
        Small(name).write(tmp_path, name)
    for name in ("mnist", "fashion-mnist"):
        Small(name).check(tmp_path)


def test_records_longer_than_a_chunk(tmp_path, monkeypatch):
    """Pictures are read in pieces."""
    monkeypatch.setattr("dynlab.images.data.archives.CHUNK", 100)
    for name, kind in KINDS:
        small = Small(name, kind)
        small.check(small.write(tmp_path / kind / name))


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_missing(name, kind, tmp_path):
    small = Small(name, kind)
    refused(lambda: small.load(tmp_path), tmp_path, "nothing of it")
    refused(lambda: small.load(tmp_path / "none"), tmp_path / "none", "no such folder")
    small.write(tmp_path)
    for name in [part.name for part in small.layout.splits["train"]][1:]:
        (tmp_path / name).unlink()
        refused(lambda name=name: small.load(tmp_path), tmp_path / name, "found nothing")
        small.write(tmp_path)


@pytest.mark.parametrize(("name", "kind"), PACKED)
def test_missing_in_the_archive(name, kind, tmp_path):
    small = Small(name, kind)
    left_out = small.layout.splits["train"][-1].name
    small.pack(tmp_path, [name for name in small.files if name != left_out])
    refused(lambda: small.load(tmp_path), small.layout.archive.name, left_out)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("change", [-1, 1])
def test_short_and_long(name, kind, change, compressed, tmp_path):
    small = Small(name, kind)
    part = small.layout.splits["test"][0].name
    data = small.files[part]
    small.files[part] = data[:change] if change < 0 else data + b"\0"
    small.write(tmp_path, compressed=compressed)
    path = tmp_path / (part + ".gz" * compressed)
    for verify in (True, False):
        if kind == "pickle" and change > 0 and not verify:
            continue  # what follows the end of a pickle is not read; the md5 tells
        line = refused(lambda verify=verify: small.load(tmp_path, "test", verify=verify), path)
        if kind != "pickle":
            assert str(len(data)) in line


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_changed_byte(name, kind, packed, tmp_path):
    """The md5 tells a changed pixel; without it the pictures are read as they are."""
    if packed and kind == "idx":
        return
    small = Small(name, kind)
    if name == "cifar100" and kind == "planar":
        parts = {
            s: tuple(replace(p, md5=hashlib.md5(small.files[p.name]).hexdigest()) for p in ps)
            for s, ps in small.layout.splits.items()
        }
        small.use(replace(small.layout, splits=parts))
    part = small.layout.splits["test"][0]
    data = bytearray(small.files[part.name])
    at = bytes(data).rindex(small.pictures["test"][-1, -1, -1, -1].tobytes(), 0, len(data) - (90 if kind == "pickle" else 0))
    data[at] ^= 1
    small.files[part.name] = bytes(data)
    small.pack(tmp_path) if packed else small.write(tmp_path)
    changed = hashlib.md5(bytes(data)).hexdigest()
    refused(lambda: small.load(tmp_path, "test"), part.name, part.md5, changed)
    found = small.load(tmp_path, "test", verify=False)
    assert np.sum(found.pictures != small.pictures["test"]) == 1


def test_archive_md5_where_a_file_has_none(tmp_path):
    small = Small("cifar100", "planar")
    small.pack(tmp_path)
    path = tmp_path / small.layout.archive.name
    right = hashlib.md5(path.read_bytes()).hexdigest()
    small.use(replace(small.layout, archive=replace(small.layout.archive, md5=right)))
    small.check(tmp_path)
    small.use(replace(small.layout, archive=replace(small.layout.archive, md5="0" * 32)))
    refused(lambda: small.load(tmp_path), path, "0" * 32, right)
    assert small.load(tmp_path, verify=False).labels is not None


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.6, 0.95])
def test_broken_archives(cut, tmp_path):
    small = Small("cifar10", "planar")
    path = small.pack(tmp_path) / small.layout.archive.name
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    refused(lambda: small.load(tmp_path), path.name, "corrupt")
    path.write_bytes(b"PK" + data[2:])
    refused(lambda: small.load(tmp_path), path.name, "corrupt")


@pytest.mark.parametrize("cut", [0, 5, 30, -4])
def test_broken_compression(cut, tmp_path):
    small = Small("mnist")
    small.write(tmp_path, compressed=True)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:cut])
    refused(lambda: small.load(tmp_path, "test"), path)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_labels_beyond_the_classes(name, kind, tmp_path):
    small = Small(name, kind)
    small.catalogue = {name: replace(small.catalogue[name], classes=("one",))}
    refused(lambda: small.load(small.write(tmp_path)), "labels of 1 classes")


@pytest.mark.parametrize("header", [b"\0\0\x08\x02", b"\0\0\x0d\x03", b"\x89PNG"])
def test_idx_of_another_kind(header, tmp_path):
    small = Small("mnist")
    name = "t10k-images-idx3-ubyte"
    small.files[name] = header + small.files[name][4:]
    refused(lambda: small.load(small.write(tmp_path), "test", verify=False), name, "magic number 00000803", header.hex())


def test_idx_of_another_shape(tmp_path):
    small = Small("mnist")
    name = "t10k-images-idx3-ubyte"
    small.files[name] = struct.pack(">IIII", 0x803, 4, 9, 1) + small.files[name][16:]
    refused(lambda: small.load(small.write(tmp_path), "test", verify=False), name, "(4, 3, 3)", "(4, 9, 1)")


FOLDS = [b"", b"1 2 3\n" * 9, b"1 2 x\n" * 10, b"1 2\n" * 9 + b"1\n", b"1 6\n" * 10, b"-1 2\n" * 10]


@pytest.mark.parametrize("text", FOLDS)
def test_folds_that_are_none(text, tmp_path):
    small = Small("stl10")
    small.files["fold_indices.txt"] = text
    refused(lambda: small.load(small.write(tmp_path)), "fold_indices.txt", "10 lines")


def test_mat_order_of_stl10(tmp_path):
    """The first numbers of a plane are its first column, from the top down."""
    small = Small("stl10")
    found = small.load(small.write(tmp_path), "unlabelled").pictures
    assert list(found[0, :, 0, 0]) == list(small.files["unlabeled_X.bin"][:5])


class Evil:
    """Pickles to a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def evil_files(marker):
    touch = f"touch {marker}"
    for protocol in range(6):
        yield pickle.dumps({"data": Evil(os.system, touch)}, protocol), "system"
        yield pickle.dumps({"data": Evil(eval, f"open({str(marker)!r}, 'w')")}, protocol), "eval"
    yield b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.", "os.system"
    yield b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"
    yield b"c_codecs\ndecode\n.", "_codecs.decode"
    yield b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"
    yield b"cnumpy\nndarray.__reduce__\n.", "refused"
    yield b"\x80\x04\x8c\x05numpy\x8c\x08__dict__\x93.", "refused"
    yield b"(S'" + touch.encode() + b"'\nios\nsystem\n.", "os.system"


def test_pickles_that_call(tmp_path):
    """Whatever a pickle asks for beyond arrays is refused before it is called."""
    small, marker = Small("cifar10", "pickle"), tmp_path / "was-here"
    for data, word in evil_files(marker):
        small.files["test_batch"] = data
        small.write(tmp_path)
        refused(lambda: small.load(tmp_path, "test", verify=False), tmp_path / "test_batch", word, "refused")
    assert not marker.exists()


OTHER = naive.python2_pickle({b"data": np.zeros((4, 48), np.uint8), b"labels": [1, 2, 3, 4]})
WRONG = [
    b"", b"junk", b"\x80\x02", pickle.dumps([1, 2]), pickle.dumps({}), pickle.dumps({b"data": b"x", b"labels": [1]}),
    OTHER.replace(b"u1", b"O1"), OTHER.replace(b"u1", b"f8"), OTHER.replace(b"labels", b"lobels"), OTHER[:-20],
    naive.python2_pickle({b"data": np.zeros((4, 47), np.uint8), b"labels": [1, 2, 3, 4]}),
    naive.python2_pickle({b"data": np.zeros((4, 48), np.uint8), b"labels": [1, 2, 3]}),
    naive.python2_pickle({b"data": np.zeros((4, 48), np.uint8), b"labels": [1, 2, 3, b"4"]}),
    b"cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01K\x02K\x03K\x04K\x05tb.",
    b"\x80\x02}\x80\x02\x82\x01.", b"Pxy\n.", b"h\x05.",
]  # fmt: skip


@pytest.mark.parametrize("data", WRONG)
def test_pickles_of_other_things(data, tmp_path):
    small = Small("cifar10", "pickle")
    small.files["test_batch"] = data
    refused(lambda: small.load(small.write(tmp_path), "test", verify=False), tmp_path / "test_batch")


def test_pickle_as_python_3_writes_it(tmp_path):
    """Files that were pickled again, of the same content: text for keys, arrays of NumPy 2."""
    small = Small("cifar10", "pickle")
    planes = small.pictures["test"].transpose(0, 3, 1, 2).reshape(4, -1)
    content = {"data": np.ascontiguousarray(planes), "labels": [int(x) for x in small.labels["test"]]}
    small.files["test_batch"] = pickle.dumps(content, 4)
    found = small.load(small.write(tmp_path), "test", verify=False)
    assert np.array_equal(found.pictures, small.pictures["test"])


LABELS = (
    lambda x: [int(y) for y in x],
    lambda x: tuple(int(y) for y in x),
    lambda x: list(x.astype(np.int64)),  # of NumPy's numbers
    lambda x: x.astype(np.uint8),
    lambda x: x.astype(">i2"),
    lambda x: x.astype(np.int64),
)
DATA = (lambda x: x, np.asfortranarray, lambda x: x.astype(np.int64), lambda x: x.astype(">u4"))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("old", [False, True], ids=["numpy 2", "numpy 1"])
def test_pickles_written_again_by_any_protocol(protocol, old, tmp_path):
    """Arrays and numbers of any integers, under the names that they have had in NumPy 1 and 2."""
    small = Small("cifar10", "pickle")
    planes = np.ascontiguousarray(small.pictures["test"].transpose(0, 3, 1, 2).reshape(4, -1))
    for labels in LABELS:
        for change in DATA:
            content = {"data": change(planes), "labels": labels(np.array(small.labels["test"])), "n": b""}
            held = pickle.dumps(content, protocol)
            if old and protocol < 4:  # from then on names have their lengths before them
                held = held.replace(b"cnumpy._core.", b"cnumpy.core.")
            small.files["test_batch"] = held
            found = small.load(small.write(tmp_path), "test", verify=False)
            assert np.array_equal(found.pictures, small.pictures["test"])
            assert np.array_equal(found.labels, small.labels["test"])


@pytest.mark.parametrize(
    "change, word",
    [
        ({"data": np.zeros((4, 48), np.float32)}, "an array of 'f4'"), ({"data": np.full((4, 48), 256)}, "256"),
        ({"data": np.full((4, 48), -1, np.int8)}, "-1"), ({"labels": [1.0, 2.0, 3.0, 4.0]}, "integers"),
        ({"labels": np.array([0.0, 1.0, 2.0, 3.0])}, "f8"), ({"labels": [True, False, True, True]}, "integers"),
        ({"labels": [0, 1, -1, 2]}, "integers from 0"), ({"labels": np.array([0, 1, 2**63, 2], np.uint64)}, "integers"),
        ({"labels": np.zeros(5, int)}, "4 labels"), ({"labels": np.zeros((4, 1), int)}, "4 labels"),
        ({"data": np.array([[None] * 48] * 4)}, "O8"), ({"labels": np.array(["a"] * 4)}, "U1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 5])
def test_other_numbers_are_named_for_what_they_are(change, word, protocol, tmp_path):
    small = Small("cifar10", "pickle")
    content = {"data": np.zeros((4, 48), np.uint8), "labels": [0, 1, 2, 3]} | change
    small.files["test_batch"] = pickle.dumps(content, protocol)
    refused(lambda: small.load(small.write(tmp_path), "test", verify=False), tmp_path / "test_batch", word)


def test_a_pickle_changes_nothing_about_how_the_next_is_read(tmp_path):
    """It builds attributes onto what it found by name, and asks for an array that is made by other means."""
    small = Small("cifar10", "pickle")
    good = small.files["test_batch"]
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    for name in (reconstruct, b"cnumpy\ndtype\n", b"c_codecs\nencode\n"):
        for state in (b"}Vmake\nI1\nsb.", b"(N}Vmake\nI1\nstb.", b"(N}V__class__\n" + reconstruct + b"stb."):
            small.files["test_batch"] = name + state
            refused(lambda: small.load(small.write(tmp_path), "test", verify=False), tmp_path / "test_batch")
    small.files["test_batch"] = b"cnumpy\nndarray\n(I9\ntR."
    refused(lambda: small.load(small.write(tmp_path), "test", verify=False), tmp_path / "test_batch")
    small.files["test_batch"] = good
    assert np.array_equal(small.load(small.write(tmp_path), "test", verify=False).pictures, small.pictures["test"])


def test_names_and_splits(tmp_path):
    with pytest.raises(SettingError, match="name='cifar'"):
        load("cifar", tmp_path)
    with pytest.raises(SettingError, match="split='unlabelled'"):
        load("cifar10", tmp_path, "unlabelled")


def test_catalogue():
    """Counts, sizes and classes as published."""
    assert {name: len(c.classes) for name, c in CATALOGUE.items()} == {
        "cifar10": 10, "cifar100": 100, "stl10": 10, "mnist": 10, "fashion-mnist": 10,
    }  # fmt: skip
    assert list(datasets.CIFAR100_CLASSES) == sorted(datasets.CIFAR100_CLASSES)
    totals = {}
    for name, collection in CATALOGUE.items():
        assert len(set(collection.classes)) == len(collection.classes)
        for layout in collection.layouts:
            for split, parts in layout.splits.items():
                files = 1 if layout.kind in ("idx", "separate") else len(parts)
                total = totals.setdefault((name, split), files * layout.counts[split])
                assert total == files * layout.counts[split]
                assert all(part.md5 is None or len(part.md5) == 32 for part in parts)
    train, test = [name for name, split in totals if split == "train"], "test"
    assert [totals[name, "train"] for name in train] == [50000, 50000, 5000, 60000, 60000]
    assert [totals[name, test] for name in train] == [10000, 10000, 8000, 10000, 10000]
    assert CATALOGUE["cifar10"].layouts[0].splits["train"][0].size == 30730000
    assert CATALOGUE["mnist"].layouts[0].splits["train"][0].size == 47040016
    assert CATALOGUE["stl10"].layouts[0].splits["unlabelled"][0].size == 2764800000


@pytest.mark.skipif(not REAL, reason="DYNLAB_DATA is not set: the real files are not read")
@pytest.mark.parametrize("name", list(CATALOGUE))
def test_real_files(name):
    """As published: shapes, balanced classes, means of the pixels."""
    for split in CATALOGUE[name].layouts[0].splits:
        try:
            found = load(name, REAL, split)
        except DataError as error:
            if "nothing of it" not in str(error):
                raise
            pytest.skip(f"{name} does not lie in DYNLAB_DATA")
        layout = CATALOGUE[name].layouts[0]
        assert found.pictures.shape[1:] == CATALOGUE[name].shape and len(found) % layout.counts[split] == 0
        if found.labels is not None and name != "mnist":
            assert len(set(np.bincount(found.labels))) == 1
    if name == "cifar10":
        shares = [np.bincount(load(name, REAL).pictures[..., c].ravel(), minlength=256) / 50000 / 1024 for c in range(3)]
        values = np.arange(256) / 255
        means = [share @ values for share in shares]
        spreads = [np.sqrt(share @ values**2 - mean**2) for share, mean in zip(shares, means, strict=True)]
        assert np.allclose(means, CIFAR_MEAN, atol=1e-4) and np.allclose(spreads, CIFAR_DEVIATION, atol=1e-4)
