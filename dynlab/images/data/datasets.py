"""Sets of pictures from their published files: CIFAR-10, CIFAR-100, STL-10, MNIST and Fashion-MNIST.

`load` reads what lies in a folder: the files themselves, compressed, in the subfolder that unpacking makes, or still in the
publisher's tar.gz; binary or Python files alike. Sizes are checked always, md5 unless `verify=False`. The md5 are of the
uncompressed files as their publishers wrote them, so it does not matter who compressed them; those of CIFAR-100's binary
files are not known, hence that of the archive is checked where they lie in it.

Sources: https://www.cs.toronto.edu/~kriz/cifar.html, https://cs.stanford.edu/~acoates/stl10,
https://github.com/zalandoresearch/fashion-mnist, http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynlab.images.data.archives import (
    Archive,
    ArchivePart,
    DataError,
    MissingData,
    Stream,
    find_parts,
    parts_in,
    read_idx,
    read_pickle,
    read_planar,
)
from dynlab.tools.checks import SettingError, choice
from dynlab.tools.files import expanded

SPLITS = ("train", "test", "unlabelled")


@dataclass(frozen=True)
class ImageSet:
    """pictures uint8 (n, h, w, c), contiguous; labels int64 (n,) or None; name of the set; names of its classes.

    folds : int64 (10, 1000), the rows of STL-10's training split on which its ten probes are trained; None elsewhere.
    notes, left_out : of pictures of one's own: lines on how they were taken; files that could not be read, with the reason.
    """

    pictures: np.ndarray
    labels: np.ndarray | None
    name: str
    classes: tuple[str, ...]
    folds: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def content(self, limit: int | None = None) -> str:
        """A digest of the first `limit` pictures (None: all) and their labels: equal where, and only where, these are."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.pictures, self.labels):
            if part is not None:
                some = np.ascontiguousarray(part[slice(limit)])
                digest.update(f"{some.dtype.str}{some.shape}".encode())
                digest.update(some.data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Layout:
    """One way in which a set is published.

    kind : "planar", "pickle", "idx" or "separate" (planes and labels in two files). splits : the parts of each split, in the
    order of their pictures. counts : pictures in each of these parts. folders : where unpacked files may lie.
    label_bytes : before each picture of "planar". label_key : of the labels in a pickle.
    """

    kind: str
    splits: Mapping[str, tuple[ArchivePart, ...]]
    counts: Mapping[str, int]
    folders: tuple[str, ...] = ()
    archive: Archive | None = None
    label_bytes: int = 0
    label_key: bytes = b"labels"


@dataclass(frozen=True)
class Collection:
    """A set of pictures: shape (h, w, c) of one, names of its classes, and the layouts it is published in."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    layouts: tuple[Layout, ...]


def load(
    name: str,
    folder: str | Path,
    split: str = "train",
    verify: bool = True,
    *,
    catalogue: Mapping[str, Collection] | None = None,
) -> ImageSet:
    """A split of a set of pictures, in memory as bytes.

    Parameters
    ----------
    name : "cifar10", "cifar100", "stl10", "mnist" or "fashion-mnist".
    folder : where its files lie.
    split : "train", "test", or "unlabelled" (STL-10, which has no labels there).
    verify : False leaves out the md5, not the sizes.
    catalogue : other collections than `CATALOGUE`.

    Raises SettingError for an unknown name or split, DataError (an OSError) for files that are missing or wrong.
    """
    catalogue = CATALOGUE if catalogue is None else catalogue
    collection = catalogue[choice("name", name, catalogue)]
    if split not in collection.layouts[0].splits:
        raise SettingError("split", split, f"one of {', '.join(collection.layouts[0].splits)} for {name}")
    folder = expanded(folder)
    for layout in collection.layouts:
        where = find_parts(folder, layout.folders, layout.archive, layout.splits[split])
        if where is not None:
            return _read(name, collection, layout, split, where, verify)
    wanted = [layout.splits[split][0].name for layout in collection.layouts]
    wanted += [layout.archive.name for layout in collection.layouts if layout.archive is not None]
    raise MissingData(folder, name, " or ".join(wanted))


def _read(name: str, collection: Collection, layout: Layout, split: str, where: dict[str, Path], verify: bool) -> ImageSet:
    parts, count = layout.splits[split], layout.counts[split]
    reader = _READERS[layout.kind](collection, layout, [part.name for part in parts], count)
    for stream in parts_in(where, layout.archive, parts, verify):
        reader.take(stream)
    if reader.labels is not None:
        low, high = int(reader.labels.min()), int(reader.labels.max())
        if low < 0 or high >= len(collection.classes):
            path = next(iter(where.values())).parent
            raise DataError(path, f"labels of {len(collection.classes)} classes in {split}", f"{low} to {high}")
    return ImageSet(reader.pictures, reader.labels, name, collection.classes, reader.folds)


class _Planar:
    """Pictures as planes with their labels in front of them, as in CIFAR's binary files."""

    ONE_FILE = False  # all pictures in one part, labels in another; otherwise every part has both

    def __init__(self, collection: Collection, layout: Layout, names: list[str], count: int) -> None:
        self.layout, self.names, self.count = layout, names, count
        pictures = count if self.ONE_FILE else count * len(names)
        self.pictures = np.empty((pictures, *collection.shape), np.uint8)
        self.filled = np.empty(pictures, np.int64)
        self.labels: np.ndarray | None = self.filled
        self.folds: np.ndarray | None = None

    def rows(self, stream: Stream) -> slice:
        """The pictures that a part holds."""
        start = self.names.index(stream.part.name) * self.count
        return slice(start, start + self.count)

    def take(self, stream: Stream) -> None:
        """Read a part."""
        rows = self.rows(stream)
        read_planar(stream, self.layout.label_bytes, False, self.pictures[rows], self.filled[rows])


class _Pickled(_Planar):
    """The same planes as CIFAR's Python files hold them."""

    def take(self, stream: Stream) -> None:
        content, rows = read_pickle(stream), self.rows(stream)
        height, width, channels = self.pictures.shape[1:]
        data, labels = content.get(b"data"), content.get(self.layout.label_key)
        shape = (self.count, channels * height * width)
        if not isinstance(data, np.ndarray) or data.shape != shape:
            raise DataError(stream.path, f"data of shape {shape}", getattr(data, "shape", "none"))
        if data.dtype != np.uint8 and (data.min() < 0 or data.max() > 255):
            raise DataError(stream.path, "data from 0 to 255", f"{data.min()} to {data.max()}")
        labels = labels.tolist() if isinstance(labels, np.ndarray) and labels.ndim == 1 else labels
        if not isinstance(labels, list | tuple) or len(labels) != self.count:
            found = f"{len(labels)}" if isinstance(labels, list | tuple) else "none such"
            raise DataError(stream.path, f"a list of {self.count} labels", found)
        if not all(type(x) is int and 0 <= x < 1 << 31 for x in labels):
            raise DataError(stream.path, "labels that are integers from 0", "others")
        self.pictures[rows] = data.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        self.filled[rows] = labels


class _Idx(_Planar):
    """MNIST's files: one of pictures, one of labels."""

    ONE_FILE = True

    def take(self, stream: Stream) -> None:
        if "idx3" in stream.part.name:
            read_idx(stream, self.pictures[..., 0])
        else:
            labels = np.empty(self.count, np.uint8)
            read_idx(stream, labels)
            self.filled[...] = labels


class _Separate(_Planar):
    """STL-10's files: planes stored by columns, labels from 1 on, and the folds as lines of row numbers."""

    ONE_FILE = True

    def __init__(self, collection: Collection, layout: Layout, names: list[str], count: int) -> None:
        super().__init__(collection, layout, names, count)
        if not any(name.endswith("_y.bin") for name in names):
            self.labels = None

    def take(self, stream: Stream) -> None:
        if stream.part.name.endswith("_X.bin"):
            read_planar(stream, 0, True, self.pictures, None)
        elif stream.part.name.endswith("_y.bin"):
            self.filled[...] = np.frombuffer(stream.read(self.count), np.uint8).astype(np.int64) - 1
        else:
            self.folds = self._folds(stream)

    def _folds(self, stream: Stream) -> np.ndarray:
        lines = stream.rest(1 << 24).split(b"\n")
        try:
            folds = np.array([[int(word) for word in line.split()] for line in lines if line.strip()], np.int64)
        except ValueError:
            folds = np.empty(0, np.int64)
        expected = f"10 lines of row numbers, each from 0 to {self.count - 1}"
        if folds.ndim != 2 or len(folds) != 10:
            raise DataError(stream.path, expected, f"{len(lines)} lines that are not")
        if folds.min() < 0 or folds.max() >= self.count:
            raise DataError(stream.path, expected, f"{folds.min()} to {folds.max()}")
        return folds


_READERS = {"planar": _Planar, "pickle": _Pickled, "idx": _Idx, "separate": _Separate}


def _cifar_binary(label_bytes: int, split_parts: dict, counts: dict, archive: Archive) -> Layout:
    record = 3072 + label_bytes
    parts = {
        split: tuple(ArchivePart(name, record * counts[split], md5) for name, md5 in named)
        for split, named in split_parts.items()
    }
    return Layout("planar", parts, counts, (archive.inside,), archive, label_bytes)


def _cifar_python(label_key: bytes, split_parts: dict, counts: dict, archive: Archive) -> Layout:
    parts = {split: tuple(ArchivePart(name, None, md5) for name, md5 in named) for split, named in split_parts.items()}
    return Layout("pickle", parts, counts, (archive.inside,), archive, label_key=label_key)


def _idx_layout(folders: tuple[str, ...], md5: tuple[str, str, str, str]) -> Layout:
    counts = {"train": 60000, "test": 10000}
    names = {"train": "train", "test": "t10k"}
    parts = {}
    for place, (split, n) in enumerate(counts.items()):
        pictures = ArchivePart(f"{names[split]}-images-idx3-ubyte", 16 + 784 * n, md5[2 * place])
        parts[split] = (pictures, ArchivePart(f"{names[split]}-labels-idx1-ubyte", 8 + n, md5[2 * place + 1]))
    return Layout("idx", parts, counts, folders)


CIFAR10_BINARY = _cifar_binary(
    1,
    {
        "train": (
            ("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
            ("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
            ("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
            ("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
            ("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
        ),
        "test": (("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),),
    },
    {"train": 10000, "test": 10000},
    Archive("cifar-10-binary.tar.gz", "cifar-10-batches-bin", "c32a1d4ab5d03f1284b67883e8d87530"),
)
CIFAR10_PYTHON = _cifar_python(
    b"labels",
    {
        "train": (
            ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
            ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            ("data_batch_4", "634d18415352ddfa80567beed471001a"),
            ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        ),
        "test": (("test_batch", "40351d587109b95175f43aff81a1287e"),),
    },
    {"train": 10000, "test": 10000},
    Archive("cifar-10-python.tar.gz", "cifar-10-batches-py", "c58f30108f718f92721af3b95e74349a"),
)
CIFAR100_BINARY = _cifar_binary(
    2,
    {"train": (("train.bin", None),), "test": (("test.bin", None),)},
    {"train": 50000, "test": 10000},
    Archive("cifar-100-binary.tar.gz", "cifar-100-binary", "03b5dce01913d631647c71ecec9e9cb8"),
)
CIFAR100_PYTHON = _cifar_python(
    b"fine_labels",
    {
        "train": (("train", "16019d7e3df5f24257cddd939b257f8d"),),
        "test": (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
    },
    {"train": 50000, "test": 10000},
    Archive("cifar-100-python.tar.gz", "cifar-100-python", "eb9058c3a382ffc7106e4002c42a8d85"),
)
STL10 = Layout(
    "separate",
    {
        "train": (
            ArchivePart("train_X.bin", 5000 * 27648, "918c2871b30a85fa023e0c44e0bee87f"),
            ArchivePart("train_y.bin", 5000, "5a34089d4802c674881badbb80307741"),
            ArchivePart("fold_indices.txt"),
        ),
        "test": (
            ArchivePart("test_X.bin", 8000 * 27648, "7f263ba9f9e0b06b93213547f721ac82"),
            ArchivePart("test_y.bin", 8000, "36f9794fa4beb8a2c72628de14fa638e"),
        ),
        "unlabelled": (ArchivePart("unlabeled_X.bin", 100000 * 27648, "5242ba1fed5e4be9e1e742405eb56ca4"),),
    },
    {"train": 5000, "test": 8000, "unlabelled": 100000},
    ("stl10_binary",),
    Archive("stl10_binary.tar.gz", "stl10_binary", "91f7769df0f17e558f3565bffb0c7dfb"),
)
MNIST = _idx_layout(
    ("mnist", "MNIST/raw"),
    (
        "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637",
    ),
)  # fmt: skip
FASHION_MNIST = _idx_layout(
    ("fashion-mnist", "FashionMNIST/raw"),
    (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965",
    ),
)  # fmt: skip

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
    forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm""".split()
)
STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

CATALOGUE: Mapping[str, Collection] = {
    "cifar10": Collection((32, 32, 3), CIFAR10_CLASSES, (CIFAR10_BINARY, CIFAR10_PYTHON)),
    "cifar100": Collection((32, 32, 3), CIFAR100_CLASSES, (CIFAR100_BINARY, CIFAR100_PYTHON)),
    "stl10": Collection((96, 96, 3), STL10_CLASSES, (STL10,)),
    "mnist": Collection((28, 28, 1), tuple("0123456789"), (MNIST,)),
    "fashion-mnist": Collection((28, 28, 1), FASHION_CLASSES, (FASHION_MNIST,)),
}
