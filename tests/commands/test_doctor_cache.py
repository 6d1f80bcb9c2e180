"""`dynlab.doctor` lists the versions in the cache, and clears what the cache wrote and nothing else."""

from __future__ import annotations

import os
import re

import pytest

from dynlab import doctor
from dynlab.machine import cache

OLD, OLDER = "a" * 20, "b" * 20
WRITING = f"dynlab.x.f.00.kernel.writing.{'c' * 32}"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache with this version, two older ones, and things that are not the cache's."""
    place = tmp_path / "cache"
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(place))
    for name, files in {
        cache.cache_key(): ("dynlab.x.f.00.kernel", WRITING),
        OLD: ("dynlab.x.f.00.kernel",),
        OLDER: ("flow._flow_kernel-01.py311.nbi", "flow._flow_kernel-01.py311.1.nbc", "f.py311.1.nbc.tmp.0123456789abcdef"),
    }.items():
        (place / name).mkdir(parents=True)
        for file in files:
            (place / name / file).write_bytes(bytes(1000))
    os.utime(place / OLD, (2e9, 2e9))
    os.utime(place / OLDER, (1e9, 1e9))
    return place


def tree(root) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}


def test_versions_are_listed(root, capsys):
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("cache:"))
    assert lines[at].split(maxsplit=1)[1] == f"{root}, 0.0 MiB in 6 files"
    then = re.compile(r"last used \d{4}-\d\d-\d\d \d\d:\d\d")
    listed = [then.sub("last used then", line.strip()) for line in lines[at + 1 : at + 4]]
    assert listed == [
        f"{cache.cache_key()}: current, 0.0 MiB in 2 files, 1 of them not finished, last used then",
        f"{OLD}: 0.0 MiB in 1 files, last used then",
        f"{OLDER}: 0.0 MiB in 3 files, 1 of them not finished, last used then",
    ]
    assert lines[at + 4].startswith("device:")


def test_old_versions_are_cleared(root, capsys):
    assert doctor.main(["--clear-cache", "old"]) == 0
    assert capsys.readouterr().out == f"removed 5 files, 0.0 MiB, from {root}\n"
    assert tree(root) == {f"{cache.cache_key()}/dynlab.x.f.00.kernel"}
    assert [path.name for path in root.iterdir()] == [cache.cache_key()]


def test_all_are_cleared(root, capsys):
    assert doctor.main(["--clear-cache"]) == 0
    assert capsys.readouterr().out == f"removed 6 files, 0.0 MiB, from {root}\n"
    assert list(root.iterdir()) == []
    assert doctor.main(["--clear-cache", "all"]) == 0


@pytest.mark.parametrize("which", ["all", "old"])
def test_nothing_else_is_touched(root, tmp_path, capsys, which):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ("d" * 20)).mkdir(parents=True)
    (elsewhere / ("d" * 20) / "dynlab.x.f.00.kernel").touch()
    foreign = ["notes.txt", "thesis/a.kernel", f"{OLD}/notes.txt", f"{OLD}/sub/b.kernel", "0123/c.kernel"]
    for name in foreign:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    (root / ("e" * 20)).symlink_to(elsewhere / ("d" * 20))
    (root / OLD / "link.kernel").symlink_to(elsewhere)
    assert doctor.main(["--clear-cache", which]) == 0
    said = capsys.readouterr().out.splitlines()[1:]
    kept = {"notes.txt", "thesis", "0123", f"{OLD}/notes.txt", f"{OLD}/sub", "e" * 20, f"{OLD}/link.kernel"}
    assert {line.removeprefix(f"left, not the cache's: {root}/") for line in said} == kept
    current = {f"{cache.cache_key()}/dynlab.x.f.00.kernel"} if which == "old" else set()
    assert tree(root) == {*foreign, "e" * 20, f"{OLD}/link.kernel", *current}
    assert len(tree(elsewhere)) == 1


def test_an_unknown_word_is_one_line_and_clears_nothing(root, capsys):
    before = tree(root)
    assert doctor.main(["--clear-cache", "some"]) == 2
    assert capsys.readouterr() == ("", "dynlab.doctor: error: --clear-cache some: must be one of all, old\n")
    assert tree(root) == before


def test_without_a_cache_there_is_nothing_to_clear(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "none"))
    assert doctor.main(["--clear-cache"]) == 0
    assert capsys.readouterr().out == f"removed 0 files, 0.0 MiB, from {tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()
