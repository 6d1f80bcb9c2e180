"""Pictures of one's own: files in a folder, and arrays; how they are brought to one size, split, cached, and refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dynlab.images.data import own_pictures, picture_folder
from dynlab.images.data.archives import DataError
from dynlab.images.data.own_pictures import for_worth, picture_side, pictures_of
from dynlab.images.data.picture_arrays import load_arrays
from dynlab.images.data.picture_folder import load_folder, square_of
from dynlab.images.settings import Pretraining
from dynlab.machine.cache import cache_root
from dynlab.tools.checks import SettingError
from tests import naive_pictures as naive


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, beside the pictures."""
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "cache"))
    assert cache_root() == tmp_path / "cache"


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def save(path: Path, picture: np.ndarray, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(path, **more)
    return path


def classes(root: Path, counts: dict[str, int], side=9):
    """A folder with so many pictures of each class, a picture's red value its own."""
    for place, (name, count) in enumerate(counts.items()):
        for i in range(count):
            picture = np.full((side, side, 3), (10 * i, 100 + place, 7), np.uint8)
            save(root / name / f"{i}.png", picture)
    return root


def line_of(call) -> str:
    with pytest.raises(DataError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("shape", [(20, 20), (31, 47), (64, 16), (5, 9), (8, 8)])
def test_a_picture_is_the_square_in_its_middle_resampled_by_a_triangle(tmp_path, shape):
    picture = noise(*shape)
    found = square_of(save(tmp_path / "x.png", picture), 8)
    assert found.shape == (8, 8, 3) and found.dtype == np.uint8
    assert np.abs(found - naive.square(picture, 8)).max() <= 1.0  # two passes of eight bits each


def test_a_picture_of_the_size_asked_for_stays_as_it_is(tmp_path):
    picture = noise(12, 12)
    assert np.array_equal(square_of(save(tmp_path / "x.png", picture), 12), picture)


def test_kinds_of_pixels(tmp_path):
    grey = noise(6, 6, 1)
    assert np.array_equal(square_of(save(tmp_path / "grey.png", grey), 6), grey)
    deep = (np.arange(36).reshape(6, 6) * 1799).astype(np.uint16)  # 0 to 62965 of 65535
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(square_of(tmp_path / "deep.png", 6)[..., 0], np.round(deep / 257))
    colours = noise(6, 6, 4)
    Image.fromarray(colours, "RGBA").save(tmp_path / "alpha.png")
    assert np.array_equal(square_of(tmp_path / "alpha.png", 6), colours[..., :3])
    Image.fromarray(noise(6, 6)).quantize(4).save(tmp_path / "palette.png")
    assert square_of(tmp_path / "palette.png", 6).shape == (6, 6, 3)


def test_a_picture_is_turned_upright(tmp_path):
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8] = 255  # as the sensor has it: white above
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    found = square_of(save(tmp_path / "x.jpg", picture, exif=turned, quality=100), 16)
    assert found[:6].max() < 50 and found[10:].min() > 200


def test_every_fifth_of_a_class_is_held_out(tmp_path):
    root = classes(tmp_path / "own", {"b": 10, "a": 5})
    train, test = (load_folder(root, split, side=9) for split in ("train", "test"))
    assert train.classes == test.classes == ("a", "b")
    assert np.bincount(train.labels).tolist() == [4, 8] and np.bincount(test.labels).tolist() == [1, 2]
    both = np.concatenate([train.pictures, test.pictures])
    assert len(np.unique(both.reshape(15, -1), axis=0)) == 15  # each once
    labels = np.concatenate([train.labels, test.labels])
    assert np.array_equal(both[:, 0, 0, 1] == 100, labels == 1)  # of "b", which was saved first
    assert (np.diff(train.labels) < 0).any()  # no class before another
    assert "every fifth picture is held out" in train.notes[0]


def test_folders_of_train_and_test(tmp_path):
    root = classes(tmp_path / "own" / "train", {"a": 3, "b": 2, "c": 2}).parent
    assert "test or val" in line_of(lambda: load_folder(root, "test"))
    classes(root / "val", {"b": 2, "c": 1})
    train, test = (load_folder(root, split, side=9) for split in ("train", "test"))
    assert len(train) == 7 and sorted(test.labels.tolist()) == [1, 1, 2] and test.classes == ("a", "b", "c")
    assert train.notes == ()
    classes(root / "val", {"d": 1})
    assert "classes of the training pictures (a, b, c), found d" in line_of(lambda: load_folder(root, "test"))


def test_without_classes_all_are_for_training(tmp_path):
    for i in range(6):
        save(tmp_path / "own" / f"{i}.JPG", noise(9, 9, seed=i), format="jpeg")
    found = load_folder(tmp_path / "own", side=9)
    assert found.labels is None and len(found) == 6 and found.classes == ()
    assert "no classes" in line_of(lambda: load_folder(tmp_path / "own", "test"))
    one = classes(tmp_path / "one", {"images": 6})
    assert load_folder(one, side=9).labels is None and len(load_folder(one, side=9)) == 6


def test_one_file_more_moves_no_other(tmp_path):
    root = tmp_path / "own"
    for i in range(8):
        save(root / f"{i}.png", noise(9, 9, seed=i))
    before = load_folder(root, side=9).pictures.copy()
    save(root / "8.png", noise(9, 9, seed=8))
    after = load_folder(root, side=9).pictures
    here = [i for i, one in enumerate(after) if any(np.array_equal(one, other) for other in before)]
    assert len(here) == 8 and np.array_equal(after[here], before)


def test_grey_alone_has_one_channel(tmp_path):
    root = tmp_path / "own"
    for i in range(3):
        save(root / f"{i}.png", noise(9, 9, 1, seed=i))
    assert load_folder(root, side=9).pictures.shape == (3, 9, 9, 1)
    save(root / "3.png", noise(9, 9))
    found = load_folder(root, side=9).pictures
    assert found.shape == (4, 9, 9, 3)
    grey = [one for one in found if (one == one[..., :1]).all()]
    assert len(grey) == 3


def test_bad_files_are_named_and_counted(tmp_path):
    root = classes(tmp_path / "own", {"a": 6, "b": 6})
    whole = (root / "a" / "0.png").read_bytes()
    (root / "a" / "half.png").write_bytes(whole[: len(whole) // 2])
    (root / "b" / "words.jpg").write_text("no picture")
    (root / "b" / "empty.jpeg").write_bytes(b"")
    (root / "b" / "notes.txt").write_text("of another kind")
    (root / "b" / ".hidden.png").write_text("not looked at")
    parts = [load_folder(root, split, side=9) for split in ("train", "test")]
    assert sum(map(len, parts)) == 12
    bad = [line for part in parts for line in part.left_out]
    assert sorted(line.partition(" (")[0] for line in bad) == ["a/half.png", "b/empty.jpeg", "b/words.jpg"]
    assert all(line.endswith(")") and "\n" not in line for line in bad)
    assert "1 files of other kinds are skipped (.txt)" in parts[0].notes[1]
    for part in parts:
        assert np.array_equal(part.labels, part.pictures[:, 0, 0, 1] - 100)  # labels stayed with their pictures


def test_what_is_no_folder_of_pictures_is_one_line(tmp_path):
    assert "no such folder" in line_of(lambda: load_folder(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "found none" in line_of(lambda: load_folder(tmp_path / "empty"))
    save(tmp_path / "mixed" / "x.png", noise(4, 4))
    save(tmp_path / "mixed" / "a" / "y.png", noise(4, 4))
    assert "1 in none and 1 in some" in line_of(lambda: load_folder(tmp_path / "mixed"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("x")
    assert "pictures that can be read, found 1 that cannot" in line_of(lambda: load_folder(tmp_path / "bad"))
    with pytest.raises(SettingError, match="split"):
        load_folder(tmp_path, "unlabelled")


def test_what_was_decoded_is_mapped_and_made_anew_where_files_change(tmp_path, monkeypatch):
    root = classes(tmp_path / "own", {"a": 5, "b": 5})
    size = save(root / "a" / "0.png", noise(9, 9), compress_level=0).stat().st_size
    first = load_folder(root, side=9)
    before = first.content()
    assert first.pictures.flags.writeable and first.pictures.flags.c_contiguous and type(first.pictures) is np.ndarray
    kept = sorted(path.name for path in picture_folder.cached_folder().iterdir())
    assert len(kept) == 2
    with monkeypatch.context() as patch:
        patch.setattr(picture_folder, "square_of", lambda *_: pytest.fail("decoded again"))
        assert load_folder(root, side=9).content() == before
    path = next(picture_folder.cached_folder().glob("*.npy"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert load_folder(root, side=9).content() == before  # damaged: decoded again
    record = next(picture_folder.cached_folder().glob("*.json"))
    record.write_text(json.dumps({}))
    assert load_folder(root, side=9).content() == before
    changed = save(root / "a" / "0.png", noise(9, 9, seed=1), compress_level=0)
    os.utime(changed, (1, 1))
    assert changed.stat().st_size == size  # another time alone
    again = load_folder(root, side=9)
    assert again.content() != before
    assert len(list(picture_folder.cached_folder().iterdir())) == 2  # what was before is not kept
    load_folder(root, side=8)
    assert len(list(picture_folder.cached_folder().iterdir())) == 4
    files, size = picture_folder.clear_cached()
    assert files == 4 and size > 0 and not picture_folder.cached_folder().exists()


def arrays(count=20, channels=3, labels=True):
    rng = np.random.default_rng(0)
    made = {"pictures": rng.integers(0, 256, (count, 10, 8, channels), np.uint8)}
    return made | ({"labels": rng.integers(0, 2, count)} if labels else {})


def test_arrays_of_an_npz_file(tmp_path):
    made = arrays()
    np.savez(tmp_path / "x.npz", **made)
    train, test = (load_arrays(tmp_path / "x.npz", split) for split in ("train", "test"))
    rows = np.arange(20) % 5 == 4
    assert np.array_equal(test.pictures, made["pictures"][rows]) and np.array_equal(train.labels, made["labels"][~rows])
    assert train.classes == ("0", "1") and "held out" in train.notes[0]
    names = {"x_train": made["pictures"], "y_train": made["labels"][:, None] + 7, "test_images": made["pictures"][:3]}
    np.savez(tmp_path / "y.npz", **names, test_labels=np.full(3, 8))  # of one class of two
    train, test = (load_arrays(tmp_path / "y.npz", split) for split in ("train", "test"))
    assert len(train) == 20 and len(test) == 3 and train.notes == ()
    assert test.labels.tolist() == [1, 1, 1] and test.classes == ("7", "8")


def test_arrays_of_npy_files_are_mapped(tmp_path):
    made = arrays(channels=1)
    np.save(tmp_path / "x.npy", made["pictures"][..., 0])
    found = load_arrays(tmp_path / "x.npy")
    assert np.array_equal(found.pictures, made["pictures"]) and found.labels is None
    assert isinstance(found.pictures.base, np.memmap) or isinstance(found.pictures.base.base, np.memmap)
    assert "pictures for the test, or labels" in line_of(lambda: load_arrays(tmp_path / "x.npy", "test"))
    np.save(tmp_path / "x_labels.npy", np.array(["cat", "dog"] * 10))
    assert load_arrays(tmp_path / "x.npy", "test").labels.tolist() == [0, 1, 0, 1]
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "train.npy", made["pictures"])
    np.savez(tmp_path / "set" / "test.npz", **arrays(6, 1))
    train, test = (load_arrays(tmp_path / "set", split) for split in ("train", "test"))
    assert len(train) == 20 and len(test) == 6 and train.labels is None and test.labels is not None


def test_rows_that_are_sorted_by_class_are_shuffled(tmp_path):
    made = arrays()
    order = np.argsort(made["labels"], kind="stable")
    np.savez(tmp_path / "x.npz", pictures=made["pictures"][order], labels=made["labels"][order])
    first, again = (load_arrays(tmp_path / "x.npz") for _ in range(2))
    assert (np.diff(first.labels) < 0).any() and any("sorted by class" in note for note in first.notes)
    assert first.content() == again.content()
    known = {picture.tobytes(): label for picture, label in zip(made["pictures"], made["labels"], strict=True)}
    assert all(known[picture.tobytes()] == label for picture, label in zip(first.pictures, first.labels, strict=True))


def test_what_is_wrong_with_arrays_is_one_line(tmp_path):
    def told(name, **held):
        np.savez(tmp_path / name, **held)
        return line_of(lambda: load_arrays(tmp_path / name))

    made = arrays()
    assert "found float64 of shape (20, 10, 8, 3)" in told("a.npz", pictures=made["pictures"] / 255)
    assert "transpose(0, 2, 3, 1)" in told("b.npz", pictures=made["pictures"].transpose(0, 3, 1, 2))
    assert "labels, 20 integers or words" in told("c.npz", pictures=made["pictures"], labels=made["labels"][:3])
    assert "float64" in told("d.npz", pictures=made["pictures"], labels=made["labels"] / 2)
    assert "found cats, dogs" in told("e.npz", cats=made["pictures"], dogs=made["labels"])
    assert "of numbers" in told("f.npz", pictures=np.array([{}, {}]))
    assert "no such file" in line_of(lambda: load_arrays(tmp_path / "nowhere.npz"))
    assert "found one of py" in line_of(lambda: load_arrays(Path(__file__)))
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    assert "cannot be read" in line_of(lambda: load_arrays(tmp_path / "damaged.npz"))
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert "cannot be read" in line_of(lambda: load_arrays(tmp_path / "damaged.npy"))
    (tmp_path / "none").mkdir()
    assert "none of these" in line_of(lambda: load_arrays(tmp_path / "none"))


def test_what_evaluation_asks_of_them(tmp_path):
    np.savez(tmp_path / "x.npz", **arrays(labels=False))
    assert "neither" in line_of(lambda: for_worth("arrays", tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", **arrays(), test_pictures=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(tmp_path / "z.npz", train_pictures=arrays()["pictures"], train_labels=arrays()["labels"],
             test_pictures=np.zeros((2, 4, 4, 3), np.uint8), test_labels=np.array([0, 1]))  # fmt: skip
    assert "of one shape" in line_of(lambda: for_worth("arrays", tmp_path / "z.npz"))
    train, test = for_worth("folder", classes(tmp_path / "own", {"a": 5, "b": 5}), side=9)
    assert len(train) == 8 and len(test) == 2


def test_the_side_of_pictures_from_files(tmp_path):
    sides = {
        name: picture_side(Pretraining(dataset="folder", augmentation=name)) for name in ("demo", "simsiam-cifar10", "paper")
    }
    assert sides == {"demo": 32, "simsiam-cifar10": 32, "paper": 96}
    own = Pretraining(dataset="folder", side=48)
    assert picture_side(own) == 48 and Pretraining(**own.plain()) == own and own.plain()["side"] == 48
    assert "side" not in Pretraining().plain()
    with pytest.raises(SettingError, match="side=48: must be None with dataset"):
        Pretraining(side=48)
    root = classes(tmp_path / "own", {"a": 5, "b": 5})
    assert pictures_of("folder", root, side=picture_side(own)).pictures.shape[1:] == (48, 48, 3)
    with pytest.raises(SettingError, match="name"):
        own_pictures.pictures_of("folders", root)
