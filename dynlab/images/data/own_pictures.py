"""Sets of pictures by the name of the setting `dataset`: the published ones, a folder of files, arrays.

Where a set of one's own has classes and no test part, every fifth picture is held out (`dynlab.images.data.held_out`).
Without classes nothing could be tested, and all are for training. One class is as good as none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynlab.images.data import datasets, picture_arrays, picture_folder
from dynlab.images.data.archives import DataError
from dynlab.images.data.datasets import ImageSet
from dynlab.images.data.pipelines import pipelines_of
from dynlab.images.settings import OWN_PICTURES, USUAL_SIDE, Pretraining
from dynlab.tools.files import expanded


def picture_side(settings: Pretraining) -> int:
    """Pixels of a side that pictures from files are brought to: those of a view, and at least `USUAL_SIDE`."""
    return settings.side or max(USUAL_SIDE, pipelines_of(settings.augmentation).size)


def pictures_of(
    dataset: str,
    folder: str | Path,
    split: str = "train",
    *,
    side: int = USUAL_SIDE,
    verify: bool = True,
    quiet: bool = True,
) -> ImageSet:
    """A split of a set of pictures.

    Parameters
    ----------
    dataset : a name of `dynlab.images.settings.DATASETS`.
    folder : where its files are; of "arrays" also the file.
    split : "train" or "test"; of "stl10" also "unlabelled".
    side : pixels of a side that the pictures of "folder" are brought to; the others have the size they have.
    verify : whether published files are compared with their md5, and pictures that were decoded before with a digest.
    quiet : whether to show no progress.

    Raises SettingError for an unknown name, DataError (an OSError) for files that are missing or wrong.
    """
    if dataset == "folder":
        return picture_folder.load_folder(folder, split, side=side, verify=verify, quiet=quiet)
    if dataset == "arrays":
        return picture_arrays.load_arrays(folder, split)
    return datasets.load(dataset, folder, split, verify=verify)


def for_worth(dataset: str, folder: str | Path, *, side: int = USUAL_SIDE, verify: bool = True) -> tuple[ImageSet, ImageSet]:
    """(train, test) with labels, for neighbours and probes; DataError of one line where a set of one's own has none."""
    train, test = (pictures_of(dataset, folder, split, side=side, verify=verify) for split in ("train", "test"))
    if dataset in OWN_PICTURES:
        if train.labels is None or test.labels is None:
            raise DataError(expanded(folder), "pictures of two classes or more, to evaluate by", "no classes")
        if train.pictures.shape[1:] != test.pictures.shape[1:]:
            shapes = " and ".join(" x ".join(map(str, one.pictures.shape[1:])) for one in (train, test))
            raise DataError(expanded(folder), "pictures of one shape for training and test", shapes)
        unseen = sorted(set(range(len(train.classes))) - set(np.unique(train.labels).tolist()))
        if unseen:
            raise DataError(expanded(folder), "pictures of every class to learn from", f"none of {train.classes[unseen[0]]}")
    return train, test
