"""Fetching from a server on this machine that breaks off, forgets ranges, answers with errors, or holds other bytes."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dynlab.images.data import download
from dynlab.images.data.archives import DataError
from dynlab.images.data.datasets import CATALOGUE
from dynlab.images.data.download import REMOTES, Patience, Remote, fetch
from dynlab.tools.checks import SettingError

DATA = np.random.default_rng(0).bytes(1_000_003)
MD5 = hashlib.md5(DATA).hexdigest()
PATIENCE = Patience(tries=3, pause=0.001, timeout=5.0)


class Server:
    """Serves DATA as /set/pictures.bin.

    asked : the Range header of each request. sent : bytes sent in each answer. breaks : for each request, bytes after which
    the connection is closed (None: not). ranges : whether ranges are understood. status : for each request, a status to
    answer with instead (None: none). body : what is sent. lengths : whether the length is said.
    """

    def __init__(self):
        self.asked, self.sent, self.breaks, self.status, self.body = [], [], [], [], DATA
        self.ranges, self.lengths, self.headers = True, True, {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802 (the name that http.server calls)
                outer.answer(self)

            def log_message(self, *words):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/set"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, handler):
        number = len(self.asked)
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        status = self.status[number] if number < len(self.status) else None
        if status or handler.path != "/set/pictures.bin":
            return handler.send_error(status or 404)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        if start and start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        rest = self.body[start:]
        handler.send_response(206 if start else 200)
        if start:
            given = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            handler.send_header("Content-Range", self.headers.get("Content-Range", given))
        if self.lengths:
            handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        cut = self.breaks[number] if number < len(self.breaks) else None
        handler.wfile.write(rest[:cut])
        handler.wfile.flush()
        self.sent.append(len(rest[:cut]))
        if cut is not None:
            handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def get(server, folder, md5=MD5, **more):
    """Fetch the set of one file."""
    remotes = {"set": Remote("http://127.0.0.1:9/", {"pictures.bin": md5})}
    return fetch("set", folder, server.url, remotes=remotes, patience=PATIENCE, **more)


def refused(call, *words):
    with pytest.raises(DataError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert str(word) in line, line


def held(folder):
    """Names of the files in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def test_whole_file(server, tmp_path):
    assert get(server, tmp_path / "new") == [tmp_path / "new" / "pictures.bin"]
    assert (tmp_path / "new" / "pictures.bin").read_bytes() == DATA
    assert held(tmp_path / "new") == ["pictures.bin"] and server.asked == [None]


def test_what_is_there_is_not_fetched(server, tmp_path):
    (tmp_path / "pictures.bin").write_bytes(DATA)
    get(server, tmp_path)
    assert server.asked == []
    (tmp_path / "pictures.bin").write_bytes(b"x")
    refused(lambda: get(server, tmp_path), tmp_path / "pictures.bin", MD5, hashlib.md5(b"x").hexdigest())
    assert server.asked == [] and (tmp_path / "pictures.bin").read_bytes() == b"x"


def test_broken_connection_is_taken_up_again(server, tmp_path):
    """Only what is missing is asked for, and each byte is sent once."""
    server.breaks = [400_000, 300_000]
    get(server, tmp_path)
    assert (tmp_path / "pictures.bin").read_bytes() == DATA
    assert server.asked == [None, "bytes=400000-", "bytes=700000-"] and sum(server.sent) == len(DATA)


def test_more_breaks_than_tries(server, tmp_path):
    """Tries count failures without progress."""
    server.breaks = [100_000] * 8
    get(server, tmp_path)
    assert len(server.asked) == 9 and sum(server.sent) == len(DATA)


def test_gives_up_and_goes_on_later(server, tmp_path):
    """The error is one line; what came is kept, and the next run takes it up."""
    server.breaks = [500_000, 0, 0, 0]
    refused(lambda: get(server, tmp_path), server.url, "500000", "pictures.bin.partial")
    assert held(tmp_path) == ["pictures.bin.partial"] and server.asked == [None] + ["bytes=500000-"] * 2
    server.breaks = []
    server.asked.clear()
    server.sent.clear()
    get(server, tmp_path)
    assert server.asked == ["bytes=500000-"] and server.sent == [500_003] and held(tmp_path) == ["pictures.bin"]
    assert (tmp_path / "pictures.bin").read_bytes() == DATA


def test_server_without_ranges(server, tmp_path):
    """It sends all of it again."""
    server.ranges, server.breaks = False, [400_000]
    get(server, tmp_path)
    assert (tmp_path / "pictures.bin").read_bytes() == DATA
    assert server.asked == [None, "bytes=400000-"] and server.sent == [400_000, len(DATA)]


def test_server_without_ranges_that_always_breaks(server, tmp_path):
    server.ranges, server.breaks = False, [400_000] * 20
    refused(lambda: get(server, tmp_path), "400000 of 1000003", "3 tries")
    assert len(server.asked) == 3


def test_server_that_does_not_say_the_length(server, tmp_path):
    """A connection that ends early is seen by the md5 only."""
    server.lengths = False
    get(server, tmp_path)
    assert (tmp_path / "pictures.bin").read_bytes() == DATA


def test_server_that_sends_another_range(server, tmp_path):
    (tmp_path / "pictures.bin.partial").write_bytes(DATA[:1000])
    server.headers["Content-Range"] = "bytes 0-1000002/1000003"
    refused(lambda: get(server, tmp_path), "bytes from 1000 on", "bytes 0-1000002")
    assert (tmp_path / "pictures.bin.partial").read_bytes() == DATA[:1000]


def test_wrong_md5(server, tmp_path):
    server.body = DATA[:-1] + b"?"
    refused(lambda: get(server, tmp_path), server.url, MD5, hashlib.md5(server.body).hexdigest())
    assert held(tmp_path) == [] and len(server.asked) == 1


@pytest.mark.parametrize("old", [b"other bytes", DATA + b"more", b"?" * len(DATA)])
def test_partial_file_of_something_else(server, tmp_path, old):
    """It is taken up, found wrong, and fetched once more from the start."""
    (tmp_path / "pictures.bin.partial").write_bytes(old)
    get(server, tmp_path)
    assert (tmp_path / "pictures.bin").read_bytes() == DATA and held(tmp_path) == ["pictures.bin"]
    assert server.asked == [f"bytes={len(old)}-", None]


def test_partial_file_that_is_whole(server, tmp_path):
    (tmp_path / "pictures.bin.partial").write_bytes(DATA)
    get(server, tmp_path)
    assert held(tmp_path) == ["pictures.bin"] and server.sent == []


@pytest.mark.parametrize("status", [404, 403, 410])
def test_not_there(server, tmp_path, status):
    """Trying again would not help."""
    server.status = [status]
    refused(lambda: get(server, tmp_path), server.url, f"HTTP status {status}")
    assert len(server.asked) == 1 and held(tmp_path) == []


def test_busy_server(server, tmp_path):
    server.status = [503, 429]
    get(server, tmp_path)
    assert len(server.asked) == 3 and held(tmp_path) == ["pictures.bin"]
    server.status, server.asked = [500] * 9, []
    (tmp_path / "pictures.bin").unlink()
    refused(lambda: get(server, tmp_path), "HTTP status 500", "3 tries")
    assert len(server.asked) == 3


def test_no_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        remotes = {"set": Remote(url, {"pictures.bin": MD5})}
        refused(lambda: fetch("set", tmp_path, remotes=remotes, patience=PATIENCE), url, "3 tries", "refused")


def test_disk_full(server, tmp_path, monkeypatch):
    """One line with the place; what was written stays."""

    class Full:
        def __init__(self, file):
            self.file, self.room = file, 300_000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def seek(self, place):
            self.file.seek(place)

        def write(self, data):
            if not self.room:
                raise OSError(28, "No space left on device")
            count = min(len(data), self.room)
            self.room -= count
            return self.file.write(data[:count])

    def full_open(path, mode, **more):
        return Full(open(path, mode, **more))

    monkeypatch.setattr(download, "open", full_open, raising=False)
    refused(lambda: get(server, tmp_path), tmp_path / "pictures.bin.partial", "No space left on device")
    assert (tmp_path / "pictures.bin.partial").read_bytes() == DATA[:300_000]
    monkeypatch.undo()
    get(server, tmp_path)
    assert (tmp_path / "pictures.bin").read_bytes() == DATA and server.asked == [None, "bytes=300000-"]


def test_progress(server, tmp_path, monkeypatch):
    """It says how many bytes of how many are there, from where the file was taken up."""
    seen = []

    class Shown:
        def __enter__(self):
            return lambda done, total=None: seen.append((done, total))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(download, "progress", lambda total, what, quiet: Shown())
    (tmp_path / "pictures.bin.partial").write_bytes(DATA[:1234])
    get(server, tmp_path)
    assert seen[0] == (1234, len(DATA)) and seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("url", ["file:///etc", "ftp://127.0.0.1/x", "/tmp"])
def test_addresses(tmp_path, url):
    with pytest.raises(SettingError, match="url="):
        fetch("cifar10", tmp_path, url)
    with pytest.raises(SettingError, match="name="):
        fetch("cifar", tmp_path)


def test_official_files():
    """Every set has an address, and what is fetched is what is looked for."""
    assert set(REMOTES) == set(CATALOGUE)
    for name, remote in REMOTES.items():
        layout = CATALOGUE[name].layouts[0]
        if layout.archive is not None:
            assert remote.files == {layout.archive.name: layout.archive.md5} and remote.inside == ""
        else:
            assert set(remote.files) == {part.name + ".gz" for parts in layout.splits.values() for part in parts}
            assert remote.inside in layout.folders
