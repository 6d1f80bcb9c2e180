"""Files that are damaged, of another kernel or of another version are refused, named once and replaced."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import types
import warnings
from pathlib import Path

import numba
import pytest

from dynlab.machine import cache, jit

SOURCE = "def {name}(x):\n    return {factor} * x + 1.0\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache's folder in these tests."""
    place = tmp_path / "cache" / ("0" * 20)
    place.mkdir(parents=True)
    monkeypatch.setattr(cache, "cache_folder", lambda: place)
    monkeypatch.setattr(cache, "sources_unchanged", lambda: True)
    monkeypatch.setattr(cache.KernelFiles, "broken", False)
    monkeypatch.setitem(sys.modules, "dynlab.toy", types.ModuleType("dynlab.toy"))  # numba imports a kernel's module
    return place


def kernel(name: str, factor: float, module: str = "dynlab.toy"):
    """A kernel as a process that has just begun finds it: factor * x + 1. The factor is no part of numba's own key."""
    space: dict = {}
    exec(SOURCE.format(name=name, factor=factor), space)
    function = types.FunctionType(space[name].__code__, {"__name__": module}, name)
    function.__module__ = module
    return jit.kernel(function)


def outcome(name: str, factor: float) -> tuple[float, int, list[str]]:
    """The result at 3, hits of the cache, and warnings."""
    compiled = kernel(name, factor)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = compiled(3.0)
    assert all(one.category is cache.CacheWarning for one in caught)
    return result, sum(compiled.stats.cache_hits.values()), [str(one.message) for one in caught]


def stored(folder: Path, name: str) -> Path:
    (path,) = folder.glob(f"dynlab.toy.{name}.*")
    return path


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0x10
    path.write_bytes(content)


DAMAGE = {
    "first byte": lambda path: flip(path, 0),
    "last byte": lambda path: flip(path, -1),
    **{f"byte at {share:.0%}": lambda path, share=share: flip(path, int(share * path.stat().st_size)) for share in
       (0.1, 0.3, 0.5, 0.7, 0.9)},
    "cut in the middle": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut in the digest": lambda path: os.truncate(path, 7),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a pickle without digest": lambda path: path.write_bytes(path.read_bytes()[cache.DIGEST :]),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_refused_and_replaced(folder, damage):
    assert outcome("twice", 2.0) == (7.0, 0, [])
    damage(stored(folder, "twice"))
    path = stored(folder, "twice")
    assert outcome("twice", 2.0) == (7.0, 0, [f"{path} is damaged: the kernel is compiled anew"])
    assert outcome("twice", 2.0) == (7.0, 1, [])


def test_bytes_that_do_not_match_are_never_unpickled(folder, monkeypatch):
    outcome("twice", 2.0)
    flip(stored(folder, "twice"), 1000)
    monkeypatch.setattr(cache.pickle, "loads", lambda _: pytest.fail("unpickled"))
    assert len(outcome("twice", 2.0)[2]) == 1


def test_files_swapped_between_kernels_are_refused(folder):
    outcome("twice", 2.0), outcome("thrice", 3.0)
    one, other = stored(folder, "twice"), stored(folder, "thrice")
    one.rename(folder / "between"), other.rename(one), (folder / "between").rename(other)
    for name, factor, path in (("twice", 2.0, one), ("thrice", 3.0, other)):
        assert outcome(name, factor) == (3.0 * factor + 1.0, 0, [f"{path} is damaged: the kernel is compiled anew"])
        assert outcome(name, factor) == (3.0 * factor + 1.0, 1, [])


def test_files_swapped_between_signatures_are_refused(folder):
    compiled = kernel("twice", 2.0)
    compiled(3.0), compiled(3)
    one, other = sorted(folder.iterdir())
    one.rename(folder / "between"), other.rename(one), (folder / "between").rename(other)
    compiled = kernel("twice", 2.0)
    with pytest.warns(cache.CacheWarning, match="is damaged") as caught:
        assert (compiled(3.0), compiled(3)) == (7.0, 7.0)
    assert len(caught) == 2


def test_a_file_of_another_version_is_refused(folder, monkeypatch):
    with monkeypatch.context() as other:
        other.setattr(cache, "kernel_stamp", lambda _: "1" * 20)
        assert outcome("factor", 5.0) == (16.0, 0, [])
    path = stored(folder, "factor")
    assert outcome("factor", 2.0) == (7.0, 0, [f"{path} is damaged: the kernel is compiled anew"])
    assert outcome("factor", 2.0) == (7.0, 1, [])


def test_a_file_for_another_signature_under_the_same_name_is_refused(folder):
    files = cache.KernelFiles(folder, "name", "stamp")
    files.path = lambda key: folder / "name.0.kernel"
    files.save((1, 2), "what belongs to (1, 2)")
    assert files.load((1, 2)) == "what belongs to (1, 2)"
    with pytest.warns(cache.CacheWarning, match=r"name\.0\.kernel is of another signature"):
        assert files.load((1, 3)) is None


def test_a_folder_in_its_place(folder):
    outcome("twice", 2.0)
    path = stored(folder, "twice")
    path.unlink(), path.mkdir()
    refused = f"{path} cannot be read (Is a directory): the kernel is compiled anew"
    assert outcome("twice", 2.0) == (7.0, 0, [refused])
    assert outcome("twice", 2.0) == (7.0, 1, [])
    path.unlink(), path.mkdir(), (path / "precious").touch()
    for _ in range(2):
        assert outcome("twice", 2.0) == (7.0, 0, [refused])
    assert [found.name for found in folder.rglob("*")] == [path.name, "precious"]


def test_a_link_is_replaced_not_followed(folder, tmp_path):
    outcome("twice", 2.0)
    path, elsewhere = stored(folder, "twice"), tmp_path / "elsewhere"
    path.unlink(), elsewhere.write_text("precious"), path.symlink_to(elsewhere)
    assert outcome("twice", 2.0) == (7.0, 0, [f"{path} is damaged: the kernel is compiled anew"])
    assert elsewhere.read_text() == "precious" and not path.is_symlink()


def test_a_full_disk_is_one_line_for_all_kernels(folder, monkeypatch):
    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    result, hits, said = outcome("twice", 2.0)
    assert (result, hits, len(said)) == (7.0, 0, 1)
    assert said[0].startswith("kernels are not cached: ") and said[0].endswith("cannot be written (No space left on device)")
    assert outcome("thrice", 3.0) == (10.0, 0, [])
    assert list(folder.iterdir()) == []


def test_a_folder_that_vanishes_is_made_again(folder):
    compiled = kernel("twice", 2.0)
    shutil.rmtree(folder)
    assert compiled(3.0) == 7.0
    assert outcome("twice", 2.0) == (7.0, 1, [])


def test_the_cache_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path))
    assert cache.cache_folder.__wrapped__() == tmp_path / cache.cache_key()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.warns(cache.CacheWarning, match="belongs to another user") as caught:
        assert cache.cache_folder.__wrapped__() is None
    assert len(caught) == 1


def test_functions_of_other_packages_are_not_kept(folder):
    """The key knows the sources of dynlab only: an edit to theirs would go unnoticed."""
    assert kernel("twice", 2.0, module="tests.toy")(3.0) == 7.0
    assert kernel("twice", 2.0, module="dynlabels.toy")(3.0) == 7.0
    assert list(folder.iterdir()) == []


def test_flushing_removes_the_files_of_one_kernel(folder):
    outcome("twice", 2.0), outcome("thrice", 3.0)
    kernel("twice", 2.0)._cache.flush()
    assert outcome("twice", 2.0)[1] == 0 and outcome("thrice", 3.0)[1] == 1


def test_the_key_knows_how_the_short_vector_library_stands(monkeypatch):
    before = cache.surroundings()
    assert before == cache.surroundings()
    monkeypatch.setattr(numba.core.config, "USING_SVML", not numba.core.config.USING_SVML)
    assert cache.surroundings() != before


def test_without_a_home_the_folder_for_temporary_files_is_taken(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DYNLAB_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.cache_root().name == f"dynlab-{os.getuid()}"
