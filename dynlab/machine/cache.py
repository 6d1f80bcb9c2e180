"""The cache of compiled kernels on disk: it saves time, and can never change a result.

The folder $DYNLAB_CACHE_DIR, or $XDG_CACHE_HOME/dynlab, or ~/.cache/dynlab holds one folder for each key: a hash of
everything that can decide what a kernel computes: dynlab's sources, Python, numba, llvmlite, NumPy, the C library (the
compiler folds constants with it), the processor and numba's switches. An edit to any source gives another folder.

A kernel is a file for each signature: a digest, then what the compiler made. The digest covers the content, the kernel's
name and its stamp, a hash of all that but of those sources alone that its module loads (`dynlab.machine.closure`), and is
compared before anything else is done with the bytes, so a file that is damaged, cut short, of another kernel or of
another version is refused: with one line of warning the kernel is compiled anew and the file replaced. A kernel that the
folder does not have yet is looked for in the others: after an edit to a source that it does not depend on it is there,
with the same stamp, and is copied instead of compiled. (Numba's own cache keeps an index and unpickles whatever it
finds; and two processes that add a signature at the same time give both the same number in it.) Files are written under
another name and renamed, so processes may share a folder; what a killed one leaves behind is never read, and `python -m
dynlab.doctor --clear-cache` removes it.

The digest guards against damage, not against malice: a folder that belongs to another user is not used.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import pickle
import platform
import re
import struct
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dynlab.machine import closure

PACKAGE = closure.PACKAGE
SUFFIX = ".kernel"
DIGEST = 32  # bytes
SECONDS = struct.Struct("<d")  # how long compiling took, between digest and body
KEY = re.compile(r"[0-9a-f]{20}")
# What the cache leaves in a keyed folder: kernels, those being written, and the files of versions before this format.
WRITING = re.compile(r".+\.kernel\.writing\.[0-9a-f]{32}|.+\.nb[ic]\.tmp\.[0-9a-f]{16}")
OURS = re.compile(r".+\.(kernel|nbi|nbc)|" + WRITING.pattern)
# Settings of numba that do not change the code it makes for the CPU.
HARMLESS = (
    "CACHE_DIR", "CACHE_LOCATOR_CLASSES", "COLOR_SCHEME", "DEBUG_CACHE", "DISABLE_CUDA", "ENABLE_CUDASIM", "FORCE_CUDA_CC",
    "FUNCTION_CACHE_SIZE", "NUMBA_DEFAULT_NUM_THREADS", "NUMBA_NUM_THREADS", "SHOW_HELP", "THREADING_LAYER",
    "THREADING_LAYER_PRIORITY",
)  # fmt: skip


class CacheWarning(UserWarning):
    """The cache of kernels could not be used; results are what they would be without it."""


def warn(text: str) -> None:
    """Warn in one line, without the line of source that Python shows beside a warning."""
    warnings.warn_explicit(" ".join(text.split()), CacheWarning, "dynlab", 1)


def cache_root() -> Path:
    """The folder that holds all caches of dynlab, one subfolder for each key."""
    from dynlab.tools.files import expanded  # here: a kernel does not depend on how files are written

    chosen = os.environ.get("DYNLAB_CACHE_DIR")
    if chosen:
        return expanded(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (expanded(base) if base else Path.home() / ".cache") / "dynlab"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / f"dynlab-{os.getuid()}"


def sources_digest() -> bytes:
    """Hash of every source file of dynlab as it stands on the disk now."""
    digest = hashlib.sha256()
    for path in sorted(set(PACKAGE.rglob("*.py")) - set((PACKAGE / "docs").rglob("*.py"))):  # pages are in no kernel
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.digest()


_sources = cache(sources_digest)  # as this process found them


def surroundings() -> tuple:
    """What else decides the code that is made: versions, the processor, switches of Python and numba."""
    import llvmlite
    import llvmlite.binding as llvm
    import numba
    import numpy as np
    from numba.core import config

    library = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ()) else None
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__, platform.machine(), library)
    processor = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    # As numba read them, from the environment or from its file; USING_SVML among them, which it finds out.
    settings = {name: value for name, value in vars(config).items() if name.isupper() and not name.startswith("CUDA_")}
    switches = tuple(f"{name}={value!r}" for name, value in sorted(settings.items()) if name not in HARMLESS)
    return versions, sys.flags.optimize, processor, switches


@cache
def cache_key() -> str:
    """Hash of dynlab's sources and of `surroundings`: 20 hexadecimal digits, the folder's name."""
    return hashlib.sha256(_sources() + repr(surroundings()).encode()).hexdigest()[:20]


@cache
def cache_folder() -> Path | None:
    """The cache folder of this very version, created; None (with one warning) where it cannot be used."""
    folder = cache_root().absolute() / cache_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not owned(folder):
            warn(f"kernels are not cached: {folder} belongs to another user")
            return None
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)  # when it was used last
    except OSError as error:
        warn(f"kernels are not cached: {folder} cannot be written ({error.strerror})")
        return None
    return folder


def kernel_stamp(module: str) -> str:
    """Hash of the sources that a kernel of this module can depend on, and of `surroundings`."""
    return hashlib.sha256(closure.digest_of(module) + repr(surroundings()).encode()).hexdigest()[:20]


def attach(dispatcher, function) -> None:
    """Let a compiled function of dynlab keep what is compiled for it; functions of other packages, which the key does
    not know, are left alone."""
    folder = cache_folder() if function.__module__.partition(".")[0] == PACKAGE.name else None
    if folder is not None:
        dispatcher._cache = _kernel_cache(function, folder)


def _kernel_cache(function, folder: Path):
    """A cache as numba's dispatcher asks for, which keeps its files in `folder`."""
    from numba.core.caching import CompileResultCacheImpl, FunctionCache

    class Implementation(CompileResultCacheImpl):
        def __init__(self, function):  # numba's looks for a folder; ours is known
            self._lineno = function.__code__.co_firstlineno
            self._locator = _Place(folder, inspect.getfile(function))
            self._filename_base = name

    class Cache(FunctionCache):
        _impl_class = Implementation

        def __init__(self, function):
            self._name, self._py_func, self._impl = name, function, Implementation(function)
            self._cache_path = str(folder)
            self._cache_file = KernelFiles(folder, name, kernel_stamp(function.__module__))  # type: ignore[assignment]  # in place of numba's
            self.enable()

    name = f"{function.__module__}.{function.__qualname__}".replace("<", "").replace(">", "")
    return Cache(function)


@dataclass(frozen=True)
class _Place:
    """What numba asks of the place where a kernel is kept."""

    folder: Path
    _py_file: str

    def ensure_cache_path(self) -> None:
        """Nothing: `KernelFiles.save` makes the folder and says where it cannot."""


class KernelFiles:
    """The files of one kernel, one for each signature. What fails is a warning, one a file; loading then finds nothing.

    Parameters
    ----------
    folder, name, stamp
        Where the files are, what the kernel is called, and of which version; name and stamp are part of every digest.
    """

    broken = False  # no more files are written by this process, which it has said
    announce: Callable[[str], None] | None = None  # is told of every kernel that has to be compiled

    def __init__(self, folder: Path, name: str, stamp: str):
        self.folder, self.name, self.stamp = folder, name, stamp
        self._warned: set[Path] = set()
        self._begun: dict[Path, float] = {}

    def path(self, key: object) -> Path:
        """Where the code for a signature (with processor and bytecode, as numba makes its key) is, or would be."""
        return self.folder / f"{self.name}.{hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()}{SUFFIX}"

    def load(self, key: object):
        """What was saved for the key; None where there is nothing, or nothing that could be trusted."""
        path = self.path(key)
        data = self._load(path, key)
        if data is None:
            self._begun[path] = time.perf_counter()
            if KernelFiles.announce is not None:
                last = self._last_time(path)
                took = "" if last is None else f"; {last:.0f} s last time"
                KernelFiles.announce(f"compiling {self.name.replace('._', '.')} (once for this version{took})")
        return data

    def _load(self, path: Path, key: object):
        try:
            content = path.read_bytes() if path.exists() else self._elsewhere(path)
        except OSError as error:
            return self._refuse(path, f"cannot be read ({error.strerror})")
        if content is None:
            return None
        body = content[DIGEST:]
        if content[:DIGEST] != self._digest(path, body):
            return self._refuse(path, "is damaged")
        found, data = pickle.loads(body[SECONDS.size :])
        return data if found == key else self._refuse(path, "is of another signature")

    def _last_time(self, path: Path) -> float | None:
        """Seconds that compiling the kernel took when it was compiled last, for this signature if it ever was, else for any;
        as the head of the file says, which nothing but this line depends on."""
        for pattern in (path.name, f"{self.name}.*{SUFFIX}"):
            files = [file for folder in _keyed_folders(self.folder.parent) for file in folder.glob(pattern)]
            for file in sorted(files, key=_used, reverse=True):
                with suppress(OSError, struct.error), file.open("rb") as content:
                    (seconds,) = SECONDS.unpack(content.read(DIGEST + SECONDS.size)[DIGEST:])
                    if 0.0 < seconds < 1e5:
                        return seconds
        return None

    def save(self, key: object, data: object) -> None:
        """Keep data under the key."""
        from numba.core.serialize import dumps

        path = self.path(key)
        seconds = time.perf_counter() - self._begun.pop(path, math.nan)
        body = SECONDS.pack(seconds) + dumps((key, data))
        self._write(path, self._digest(path, body) + body)

    def _elsewhere(self, path: Path) -> bytes | None:
        """The file as another version's folder has it, copied to this one's; None where none has one of this stamp."""
        for folder in sorted(_keyed_folders(self.folder.parent), key=_used, reverse=True):
            try:
                content = (folder / path.name).read_bytes() if owned(folder) else b""
            except OSError:
                continue
            if content[:DIGEST] == self._digest(path, content[DIGEST:]):
                self._write(path, content)
                return content
        return None

    def _write(self, path: Path, content: bytes) -> None:
        """Put the file in its place, whole or not at all; not where sources have changed since this process read them."""
        if KernelFiles.broken:
            return
        if not sources_unchanged():
            KernelFiles.broken = True
            return warn("kernels are not cached: sources of dynlab were edited since this process began")
        partial = path.with_name(f"{path.name}.writing.{uuid.uuid4().hex}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                partial.write_bytes(content)
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                os.replace(partial, path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            if path not in self._warned:
                KernelFiles.broken = True
                warn(f"kernels are not cached: {path} cannot be written ({error.strerror})")

    def flush(self) -> None:
        """Remove the files of this kernel."""
        for path in self.folder.glob(f"{self.name}.*{SUFFIX}"):
            path.unlink(missing_ok=True)

    def _digest(self, path: Path, body: bytes) -> bytes:
        digest = hashlib.blake2b(f"{self.stamp}\0{path.name}\0".encode(), digest_size=DIGEST)
        digest.update(body)
        return digest.digest()

    def _refuse(self, path: Path, why: str) -> None:
        self._warned.add(path)
        warn(f"{path} {why}: the kernel is compiled anew")


def sources_unchanged() -> bool:
    """Whether the code that runs is what the key says: no source has been touched since dynlab was imported.

    Modules are read when they are first needed, and the key is computed once. After an edit in between, kernels of one
    version would be kept under the key of another.
    """
    from dynlab import _version

    changed = "st_mtime" if os.name == "nt" else "st_ctime"  # the latter also tells of files that were moved here
    try:
        latest = max(getattr(os.stat(path), changed) for path in PACKAGE.rglob("*.py"))
        return latest < _version._IMPORTED and sources_digest() == _sources()
    except OSError:
        return False


@dataclass(frozen=True)
class Kept:
    """A keyed folder: whether it is that of this version, bytes and number of its files, those that no process finished,
    and when it was used last (seconds since 1970)."""

    folder: Path
    current: bool
    size: int
    files: int
    unfinished: int
    used: float


def kept() -> list[Kept]:
    """All keyed folders, that of this version first, then the latest used."""
    found = []
    for folder in _keyed_folders():
        files = list(_files_of(folder))
        size = sum(info.st_size for _, info in files)
        unfinished = sum(WRITING.fullmatch(path.name) is not None for path, _ in files)
        current = folder.name == cache_key()
        found.append(Kept(folder, current, size, len(files), unfinished, folder.stat().st_mtime))
    return sorted(found, key=lambda one: (not one.current, -one.used))


def clear(old: bool = False) -> tuple[int, int, list[Path]]:
    """Remove what the cache has written; with `old` only folders of other keys, and in this one what was not finished.

    Only keyed folders are looked into, and only files named as the cache names them are removed.

    Returns
    -------
    (files, bytes, left)
        How much was removed, and what was found beside it and left: in the cache's folder, and in those below it.

    Raises
    ------
    OSError
        Where something of the cache's own cannot be removed.
    """
    number = size = 0
    for folder in _keyed_folders():
        current = old and folder.name == cache_key()
        for path, info in _files_of(folder):
            if not current or WRITING.fullmatch(path.name):
                path.unlink(missing_ok=True)
                number, size = number + 1, size + info.st_size
        with suppress(OSError):  # not empty: it is named below
            if not current:
                folder.rmdir()
    return number, size, _foreign()


def owned(folder: Path) -> bool:
    """Whether the folder is this user's; where systems do not say, it is."""
    return not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid()


def _used(folder: Path) -> float:
    """When a folder was used last; long ago if it has vanished meanwhile."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _keyed_folders(root: Path | None = None) -> list[Path]:
    root = cache_root() if root is None else root
    found = sorted(root.iterdir()) if root.is_dir() else []
    return [path for path in found if KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _files_of(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The cache's own files in a keyed folder, with their size; what vanishes meanwhile is left out."""
    for path in sorted(folder.iterdir()):
        if OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(FileNotFoundError):
                yield path, path.stat()


def _foreign() -> list[Path]:
    """What lies in the cache's folder and is not the cache's."""
    root = cache_root()
    keyed = _keyed_folders()
    left = [path for path in sorted(root.iterdir()) if path not in keyed] if root.is_dir() else []
    for folder in keyed:
        own = {path for path, _ in _files_of(folder)}
        left += [path for path in sorted(folder.iterdir()) if path not in own]
    return left
