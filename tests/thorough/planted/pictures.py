"""Plants faults in the data part of dynlab/images, one at a time, and shows which of its tests fail (the first few).

    python -m tests.thorough.planted.pictures [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Some ten seconds a fault in what is compiled. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

VIEWS, KERNELS, AUGMENT = (
    "dynlab/images/data/views.py",
    "dynlab/images/data/view_kernels.py",
    "dynlab/images/data/augment.py",
)
ARCHIVES, DATASETS, DOWNLOAD = (
    "dynlab/images/data/archives.py",
    "dynlab/images/data/datasets.py",
    "dynlab/images/data/download.py",
)
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "wrong weight of the luma": (VIEWS, "_F(0.587)", "_F(0.597)"),
    "crop off by half a pixel": (VIEWS, "(i + 0.5) * length / size - 0.5", "i * length / size"),
    "corners of the crop aligned": (VIEWS, "(i + 0.5) * length / size - 0.5", "i * (length - 1) / max(size - 1, 1)"),
    "one order of the jitter": (VIEWS, "float((order * 24) >> 32)", "0.0"),
    "never a flip": (VIEWS, "drawn[FLIP] = 1.0 if", "drawn[FLIP] = 0.0 if"),
    "flip of the crop's place only": (KERNELS, "at = size - 1 - x if p[views.FLIP] > 0.0 else x", "at = x"),
    "key without the epoch": (VIEWS, "c1 = view + PICTURES * DOMAIN", "c1 = view + PICTURES * DOMAIN\n    epoch = 0"),
    "key without the view": (VIEWS, "c1 = view + PICTURES * DOMAIN", "c1 = PICTURES * DOMAIN"),
    "key of the place in the batch": (
        KERNELS,
        "_draw_view(numbers, height, width, indices[i], view",
        "_draw_view(numbers, height, width, i, view",
    ),
    "half of the seed left out": (AUGMENT, "view, epoch, *key, drawn)", "view, epoch, key[0], 0, drawn)"),
    "last row and column never cropped": (VIEWS, "(height - h + 1)) >> 32", "(height - h)) >> 32"),
    "contrast about one half": (KERNELS, "_mean_luma(planes)\n        for", "np.float32(0.5)\n        for"),
    "contrast about the mean channel": (
        KERNELS,
        "return _luma(_sum(flat[0]), _sum(flat[1]), _sum(flat[2])) / count",
        "return _sum(planes.reshape(-1)) / (np.float32(3.0) * count)",
    ),
    "saturation not clipped": (VIEWS, "return clipped(part * x +", "return (part * x +"),
    "hue turns backwards": (VIEWS, "(turn if r == high else other) + sixths", "(turn if r == high else other) - sixths"),
    "hue not wrapped": (VIEWS, "hue = hue + _SIX if hue < _ZERO else hue", "hue = hue"),
    "blur repeats the edge": (VIEWS, "i = -i if i < 0 else i\n", "i = -i - 1 if i < 0 else i\n"),
    "normalised by the deviation's square": (
        AUGMENT,
        "1.0 / np.array(settings.deviation)",
        "1.0 / np.array(settings.deviation) ** 2",
    ),
    "views that are not drawn are flipped": (VIEWS, "    drawn[i] = 0.0", "    drawn[i] = float(i == FLIP)"),
    "a view of each block left out": (AUGMENT, "min(start + BLOCK, count)", "min(start + BLOCK - 1, count)"),
    "nobody waits for the other threads": (AUGMENT, "if not other.cancel():", "if False:"),
    "any pickle": (ARCHIVES, "return self.ADMITTED[module, name]", "return super().find_class(module, name)"),
    "os.system in a pickle": (
        ARCHIVES,
        '| {("numpy", "ndarray"): _Standin(_refuse)}',
        '| {("numpy", "ndarray"): _Standin(_refuse), ("posix", "system"): __import__("os").system}',
    ),
    "md5 not looked at": (ARCHIVES, "self.digest.hexdigest() != self.part.md5", "False"),
    "md5 of archives not looked at": (ARCHIVES, "if found != archive.md5:", "if False:"),
    "long files accepted": (ARCHIVES, "if self._some(1):", "if False:"),
    "no-verify leaves out nothing": (ARCHIVES, "if verify and part.md5 else None", "if part.md5 else None"),
    "planes of STL-10 by rows": (DATASETS, "read_planar(stream, 0, True,", "read_planar(stream, 0, False,"),
    "labels of STL-10 from 1 on": (DATASETS, ".astype(np.int64) - 1", ".astype(np.int64)"),
    "coarse labels of CIFAR-100": (ARCHIVES, "rows[:, label_bytes - 1]", "rows[:, 0]"),
    "parts of an archive in its order": (
        DATASETS,
        "start = self.names.index(stream.part.name) * self.count",
        "start = getattr(self, 'next', 0)\n        self.next = start + self.count",
    ),
    "starts anew instead of going on": (DOWNLOAD, "if start else {})", "if False else {})"),
    "partial file thrown away first": (
        DOWNLOAD,
        "taken_up = partial.exists()",
        "taken_up = partial.exists()\n    partial.unlink(missing_ok=True)",
    ),
    "md5 of what is fetched not looked at": (DOWNLOAD, "if found == md5:", "if found:"),
    "range not looked at": (DOWNLOAD, "int(given[1]) != start", "False"),
    "file takes its name before it is whole": (DOWNLOAD, "if total is not None and done != total:", "if False:"),
    "404 tried again": (DOWNLOAD, "if error.code in PASSING:", "if True:"),
    "what is there is lost when the rest comes": (DOWNLOAD, '"r+b" if start else "wb"', '"wb"'),
}
# The tests that look at a file.
TESTS = {VIEWS: "test_augment.py", KERNELS: "test_augment.py", AUGMENT: "test_augment.py"}
TESTS |= {ARCHIVES: "test_datasets.py", DATASETS: "test_datasets.py", DOWNLOAD: "test_download.py"}


def tests_for(name: str | None) -> list[str]:
    """The tests of the file that a fault is in; all of them for the sources as they are."""
    chosen = set(TESTS.values()) if name is None else {TESTS[FAULTS[name][0]]}
    return ["--numprocesses=0", *(f"tests/images/data/{file}" for file in sorted(chosen))]


PLANTING = Planting("pictures", FAULTS, tests_for, most=3)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))
