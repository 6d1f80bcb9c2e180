"""Fetching the published files of a set of pictures: resumed where it broke off, checked by md5, in place whole or not.

A file is written to NAME.partial and takes its name when its md5 is right. What breaks off is taken up again where it ended
(an HTTP range), in this run or the next one, as long as the server can do that; one that cannot sends all of it again.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dynlab.images.data.archives import DataError, file_md5
from dynlab.tools.checks import choice, require
from dynlab.tools.files import expanded
from dynlab.tools.progress import progress

CHUNK = 1 << 18
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers after which another try makes sense


@dataclass(frozen=True)
class Remote:
    """The files of a set: the address of the folder that holds them, md5 by name, the subfolder that they go to.

    (MNIST and Fashion-MNIST have the same names.)
    """

    address: str
    files: Mapping[str, str]
    inside: str = ""


REMOTES: Mapping[str, Remote] = {
    "cifar10": Remote("https://www.cs.toronto.edu/~kriz/", {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}),
    "cifar100": Remote("https://www.cs.toronto.edu/~kriz/", {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"}),
    "stl10": Remote("http://ai.stanford.edu/~acoates/stl10/", {"stl10_binary.tar.gz": "91f7769df0f17e558f3565bffb0c7dfb"}),
    "mnist": Remote(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        "mnist",
    ),
    "fashion-mnist": Remote(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        "fashion-mnist",
    ),
}


@dataclass(frozen=True)
class Patience:
    """How often to try again after a failure without any progress, and seconds to wait: first, for an answer at most."""

    tries: int = 5
    pause: float = 1.0
    timeout: float = 30.0


class _Broken(Exception):
    """A connection that failed in a way that another try may mend."""


def fetch(
    name: str,
    folder: str | Path,
    url: str | None = None,
    *,
    remotes: Mapping[str, Remote] | None = None,
    patience: Patience = Patience(),  # noqa: B008 (frozen)
    quiet: bool = False,
) -> list[Path]:
    """Fetch the files of a set of pictures into a folder, where `datasets.load` finds them; return their paths.

    Files that are there already are checked and left alone. url : the address of a folder that holds the same files under
    the same names, instead of the official one. remotes : other sets than `REMOTES`.

    Raises SettingError for an unknown name or address, DataError (an OSError, one line) for what could not be fetched.
    """
    remotes = REMOTES if remotes is None else remotes
    remote = remotes[choice("name", name, remotes)]
    base = remote.address if url is None else url
    require(urlsplit(base).scheme in ("http", "https"), "url", base, "an address that starts with http:// or https://")
    folder = expanded(folder) / remote.inside
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for file, md5 in remote.files.items():
        path = folder / file
        if path.exists():
            found = file_md5(path)
            if found != md5:
                raise DataError(path, f"md5 {md5}", f"{found} (delete it to fetch it anew)")
        else:
            _fetch_file(f"{base.rstrip('/')}/{file}", path, md5, patience, quiet)
        paths.append(path)
    return paths


def _fetch_file(url: str, path: Path, md5: str, patience: Patience, quiet: bool) -> None:
    """Fetch one file, with as many tries as it takes while each brings something."""
    partial = path.with_name(path.name + ".partial")
    taken_up = partial.exists()
    with progress(0, path.name, quiet) as show:
        failures = 0
        while True:
            before = _size(partial)
            try:
                _continue(url, partial, patience.timeout, show)
            except _Broken as error:
                failures = 1 if _size(partial) > before else failures + 1
                if failures >= patience.tries:
                    kept = f"; {_size(partial)} bytes are kept in {partial}" if _size(partial) else ""
                    raise DataError(url, "the whole file", f"{error} ({failures} tries{kept})") from None
                time.sleep(patience.pause * 2 ** (failures - 1))
                continue
            found = file_md5(partial)
            if found == md5:
                break
            partial.unlink()
            if not taken_up:
                raise DataError(url, f"md5 {md5}", found)
            taken_up = False  # what lay there may have been of another file: once more from the start
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _continue(url: str, partial: Path, timeout: float, show) -> None:
    """Append what is missing of the file to `partial`; return when all of it is there."""
    start = _size(partial)
    headers = {"User-Agent": "dynlab", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            start, total = _extent(url, answer, start)
            _receive(answer, partial, start, total, show)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left, or what lies there is longer than the file
            whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
            if whole is None or int(whole[1]) != start:
                partial.unlink()
                raise _Broken("a partial file that does not fit") from None
            return
        if error.code in PASSING:
            raise _Broken(f"HTTP status {error.code}") from None
        raise DataError(url, "the file", f"HTTP status {error.code} ({error.reason})") from None
    except urllib.error.URLError as error:
        raise _Broken(" ".join(str(error.reason).split())) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Broken(" ".join(f"{type(error).__name__} {error}".split())) from None


def _extent(url: str, answer, start: int) -> tuple[int, int | None]:
    """Where what the server sends begins, and the length of the whole file (None where it does not say)."""
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if given is None or int(given[1]) != start:
            raise DataError(url, f"bytes from {start} on", answer.headers.get("Content-Range", "no range"))
        return start, None if given[3] == "*" else int(given[3])
    return 0, int(length) if length and length.isdigit() else None


def _receive(answer, partial: Path, start: int, total: int | None, show) -> None:
    """Write what comes to `partial` from byte `start` on."""
    show(start, total)
    try:
        file = open(partial, "r+b" if start else "wb", buffering=0)
    except OSError as error:
        raise DataError(partial, "a file that can be written", error.strerror) from None
    with file:
        file.seek(start)
        done = start
        while chunk := answer.read(CHUNK):
            _write(file, partial, chunk)
            done += len(chunk)
            show(done, total)
    if total is not None and done != total:
        raise _Broken(f"the connection closed after {done} of {total} bytes")


def _write(file, partial: Path, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise DataError(partial, "room for the file", error.strerror) from None
