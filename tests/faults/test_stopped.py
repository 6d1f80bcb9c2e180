"""Killed, out of disk, without permission, twice at once: nothing is lost, and the same command ends with the same bytes.

Moments are drawn by a fixed seed among what a command does to files. DYNLAB_FAULTS=N tries N moments of each kind in place
of one, and the commands too that write as another one does.
"""

from __future__ import annotations

import fnmatch
import os
import random
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, OUT, Command
from tests.faults.processes import Ended, Fault, Running

MOMENTS = int(os.environ.get("DYNLAB_FAULTS", "1"))
# They hand what they have made to the code that writes for run (methods, theorem), and differ in what they compute.
ALIKE = {"descent", "sgd", "compare", "ablate", "portrait", "heads", "figures"}
HELD = 4  # by this event every command holds its folder
Tree = dict[str, bytes | None]


def tree(desk: Path) -> Tree:
    """Every file in a folder with its content, every folder with None."""
    return {str(path.relative_to(desk)): path.read_bytes() if path.is_file() else None for path in sorted(desk.rglob("*"))}


def chosen(found: Tree, patterns: tuple[str, ...]) -> Tree:
    """The part that matches some pattern."""
    return {name: content for name, content in found.items() if any(fnmatch.fnmatch(name, one) for one in patterns)}


def refused(command: Command, ended: Ended) -> str:
    """The one line with which a command that cannot work ends; after checking that it is all it says."""
    lines = ended.errors.splitlines()
    said = [line for line in lines if line.startswith(f"{command.program}: error: ")]
    assert ended.status in (1, 2) and said == lines[-1:], ended
    assert "Traceback" not in ended.errors, ended.errors
    return said[0]


@dataclass
class Place:
    """A desk, and the folder for notes of the processes that work on it."""

    command: Command
    desk: Path
    notes: Path
    number: int = 0

    def start(self, fault: Fault, *more: str) -> Running:
        """Start the command, with more words behind."""
        self.number += 1
        words = [*self.command.words.split(), *more]
        notes = self.notes / str(self.number)
        return Running(self.command.module, words, self.desk, notes, fault, self.command.prepare)

    def run(self, fault: Fault, *more: str) -> Ended:
        """Run it to its end."""
        return self.start(fault, *more).wait()

    def go_on(self, fault: Fault) -> Ended:
        """Run it, going on with what there is where the command can be told to."""
        more = self.command.resume or ()
        return self.run(fault, *(more if (self.desk / OUT / "run.json").exists() else ()))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What commands read, made once."""
    return tmp_path_factory.mktemp("kept") / "laid"


def place(command: Command, folder: Path, kept: Path) -> Place:
    """A desk with what the command reads."""
    desk = folder / "desk"
    desk.mkdir(parents=True)
    if command.lay is not None:
        command.lay(desk, kept)
    return Place(command, desk, folder / "notes")


@pytest.fixture(params=[name for name in COMMANDS if MOMENTS > 1 or name not in ALIKE])
def name(request):
    return request.param


def test_whatever_stops_it_nothing_is_lost_and_it_can_be_done_again(name, tmp_path, kept):
    command = COMMANDS[name]
    quiet = place(command, tmp_path / "quiet", kept)
    laid = tree(quiet.desk)
    held = quiet.start(Fault("pause", 1 if command.shared else HELD))
    held.wait_for_pause()
    second_of_two(quiet)
    undisturbed = held.release()
    assert undisturbed.status == 0 and "Traceback" not in undisturbed.errors, undisturbed
    whole = tree(quiet.desk)
    assert chosen(whole, command.same) and not [path for path in whole if path.endswith(".partial")]

    troubled = place(command, tmp_path / "troubled", kept)
    draw = random.Random(zlib.crc32(name.encode()))
    for kind in ["kill"] * MOMENTS + ["full", "kill"] * MOMENTS + ["size", "read-only"]:
        stop(troubled, kind, draw, undisturbed.events, whole)
        nothing_is_lost(troubled, laid)
        whole_or_not_there(troubled, whole)
    last = troubled.go_on(Fault("none"))
    assert last.status == 0, last
    found = tree(troubled.desk)
    assert chosen(found, command.same) == chosen(whole, command.same)
    assert set(found) == set(whole)


def second_of_two(quiet: Place) -> None:
    """While one holds the folder, another is refused in a line and changes nothing; but where they may share it."""
    command, before = quiet.command, tree(quiet.desk)
    if command.shared:
        assert quiet.run(Fault("none")).status == 0
        return
    second = quiet.go_on(Fault("none"))
    assert second.status == 2, second
    assert OUT in refused(command, second)
    assert tree(quiet.desk) == before


def stop(troubled: Place, kind: str, draw: random.Random, events: int, whole: Tree) -> None:
    """Let the command run into a fault at a moment drawn; it may have been done before, where there was less to do."""
    command, partial = troubled.command, troubled.desk / f".{OUT}.partial"
    before = partial.exists()
    if kind == "size":
        sizes = [len(content) for content in chosen(whole, command.same).values() if content]
        at = draw.randrange(max(sizes) // 2, max(sizes))
    else:
        at = draw.randrange(events)
    ended = troubled.go_on(Fault(kind, at))
    if ended.status == 0:  # it was done before, or what was left to do does not write
        assert command.resume is not None or (troubled.desk / OUT).exists(), (kind, at, ended)
    elif kind == "kill":
        assert ended.status == -9, (kind, at, ended)
    else:
        said = refused(command, ended)
        assert before or not partial.exists(), (kind, at, ended)
        assert {"full": "No space left", "size": "File too large", "read-only": "Read-only file system"}[kind] in said, said


def nothing_is_lost(troubled: Place, laid: Tree) -> None:
    """What was there before is as it was, and beside it lies only the result and what may stay."""
    found = tree(troubled.desk)
    assert {path: found.get(path, "gone") for path in laid} == laid
    may = tuple(pattern for one in (OUT, *troubled.command.stays) for pattern in (one, f"{one}/*"))
    stray = set(found) - set(laid) - set(chosen(found, may))
    assert not stray, stray


def whole_or_not_there(troubled: Place, whole: Tree) -> None:
    """A result that takes its place at once is complete where it is there, but for a lock nobody holds; clear it away."""
    if OUT in troubled.command.stays or not (troubled.desk / OUT).exists():
        return
    found, result = tree(troubled.desk), (OUT, f"{OUT}/*")
    assert chosen(found, troubled.command.same) == chosen(whole, troubled.command.same)
    assert set(chosen(found, result)) - {f"{OUT}/.lock"} == set(chosen(whole, result))
    shutil.rmtree(troubled.desk / OUT)


def test_the_commands_that_are_left_to_another_time_are_there():
    assert set(COMMANDS) > ALIKE


@pytest.mark.skipif(MOMENTS < 2, reason="DYNLAB_FAULTS is not 2 or more: timed, so not the same on every machine")
@pytest.mark.parametrize("killed", COMMANDS if MOMENTS > 1 else ["any command"])
def test_a_kill_while_it_computes(killed, tmp_path, kept):
    command = COMMANDS[killed]
    draw = random.Random(zlib.crc32(killed.encode()))
    for number in range(MOMENTS):
        troubled = place(command, tmp_path / str(number), kept)
        laid, running = tree(troubled.desk), troubled.start(Fault("none"))
        running.process.join(draw.uniform(0.05, 1.5))
        running.kill()
        nothing_is_lost(troubled, laid)
        if command.resume is None and (troubled.desk / OUT).exists():
            continue  # it was done before
        assert troubled.go_on(Fault("none")).status == 0
