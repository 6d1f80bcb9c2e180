"""A run folder is complete or not there, whatever stops the run; nothing that stood there is touched."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pandas as pd
import pytest

from dynlab.tools import files
from dynlab.tools.files import FolderError, FolderTaken, csv_text, run_folder, write_json
from tests.waiting import HANGS

# Fills a run folder slowly: says "ready" when half of it is written, waits for a line, writes the rest, says "done".
SLOW_RUN = """
    import sys
    from dynlab.tools.files import run_folder, termination_as_exception
    with termination_as_exception(), run_folder(sys.argv[1]) as folder:
        (folder.partial / "summary.csv").write_text("half")
        (folder.partial / "sub").mkdir()
        (folder.partial / "sub" / "deep.csv").write_text("half")
        print("ready", flush=True)
        sys.stdin.readline()
        (folder.partial / "run.json").write_text("{}")
    print("done", flush=True)
"""
# The same without any care: the planted fault.
CARELESS_RUN = """
    import pathlib, sys
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_text("half")
    print("ready", flush=True)
    sys.stdin.readline()
    (folder / "run.json").write_text("{}")
"""


def start(script, place):
    """Start a slow run and wait until it has written the first half."""
    command = [sys.executable, "-c", textwrap.dedent(script), str(place)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Under nohup hang-ups are ignored, and so they would be by what is started.
    heard = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen(command, preexec_fn=heard, **pipes)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def stop(process, number):
    process.send_signal(number)
    process.communicate(timeout=HANGS)
    return process.returncode


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def half_written(place):
    """Whether the place holds a run that is not complete."""
    return place.exists() and not (place / "run.json").exists()


def test_a_run_that_ends_well_stands_complete_at_its_place(tmp_path):
    place = tmp_path / "runs" / "one"
    with run_folder(place) as folder:
        assert folder.place == place
        assert not place.exists()
        (folder.partial / "run.json").write_text("{}")
    assert names(place) == ["run.json"]
    assert names(tmp_path / "runs") == ["one"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_and_goes_on(tmp_path, error):
    with pytest.raises(error), run_folder(tmp_path / "runs" / "deep" / "one") as folder:
        (folder.partial / "summary.csv").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_parents_that_others_use_stay(tmp_path):
    with pytest.raises(RuntimeError), run_folder(tmp_path / "runs" / "one"):
        (tmp_path / "runs" / "two").mkdir()
        raise RuntimeError
    assert names(tmp_path / "runs") == ["two"]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, None), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
)
def test_a_signal_in_the_middle_leaves_nothing(tmp_path, number, status):
    process = start(SLOW_RUN, tmp_path / "runs" / "one")
    returned = stop(process, number)
    assert returned != 0 if status is None else returned == status
    assert names(tmp_path) == []


def test_kill_9_leaves_a_hidden_partial_folder_that_the_next_run_clears(tmp_path):
    place = tmp_path / "one"
    stop(start(SLOW_RUN, place), signal.SIGKILL)
    assert not place.exists()
    assert names(tmp_path) == [".one.partial"]
    assert names(tmp_path / ".one.partial") == [".lock", "sub", "summary.csv"]
    with run_folder(place) as folder:
        assert names(folder.partial) == [".lock"]
        (folder.partial / "run.json").write_text("{}")
    assert names(tmp_path) == ["one"]
    assert names(place) == ["run.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_check_notices_a_careless_run(tmp_path, number):
    place = tmp_path / "one"
    stop(start(CARELESS_RUN, place), number)
    assert half_written(place)


@pytest.mark.parametrize("step", ["_to_disk", "os.rename"])
def test_kill_9_while_the_folder_takes_its_place(tmp_path, step):
    """Dies just before a flush, or before the rename: no half-written run stands there."""
    script = f"""
        import os, signal, sys
        from dynlab.tools import files
        def die(*_): os.kill(os.getpid(), signal.SIGKILL)
        files.{step} = die
        with files.run_folder(sys.argv[1]) as folder:
            (folder.partial / "run.json").write_text("x")
    """
    place = tmp_path / "one"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(place)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not place.exists()
    with run_folder(place) as folder:
        (folder.partial / "run.json").write_text("{}")
    assert (place / "run.json").read_text() == "{}"


def test_ctrl_c_while_the_folder_takes_its_place_waits_until_it_has(tmp_path, monkeypatch):
    rename = os.rename

    def interrupted_rename(*args):
        signal.raise_signal(signal.SIGINT)
        rename(*args)

    monkeypatch.setattr(files.os, "rename", interrupted_rename)
    with pytest.raises(KeyboardInterrupt), run_folder(tmp_path / "one") as folder:
        (folder.partial / "run.json").write_text("{}")
    assert names(tmp_path) == ["one"]
    assert names(tmp_path / "one") == ["run.json"]


def test_a_failing_write_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_to_disk", full_disk)
    with pytest.raises(OSError, match="No space"), run_folder(tmp_path / "one") as folder:
        (folder.partial / "run.json").write_text("{}")
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", ["run.json", "notes.txt", ".hidden"])
def test_a_folder_that_holds_something_is_refused_and_untouched(tmp_path, content):
    place = tmp_path / "one"
    place.mkdir()
    (place / content).write_text("precious")
    with pytest.raises(FolderTaken, match="one: holds"), run_folder(place):
        pass
    assert (place / content).read_text() == "precious"
    assert names(tmp_path) == ["one"]


def test_an_empty_folder_is_used(tmp_path):
    with run_folder(tmp_path) as folder:
        (folder.partial / "run.json").write_text("{}")
    assert names(tmp_path) == ["run.json"]


@pytest.mark.parametrize("place", ["file", "file/below", "dangling", "."])
def test_places_that_cannot_be_are_refused_before_anything_is_written(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FolderError) as error, run_folder(place):
        pass
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["dangling", "file"]
    assert (tmp_path / "file").read_text() == "precious"


def test_a_parent_without_permission_is_refused(tmp_path, monkeypatch):
    def forbidden(path, *_args, **_keywords):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files.Path, "mkdir", forbidden)  # root, who may write everywhere, runs tests too
    with pytest.raises(FolderError, match=r"deep/one: cannot be written \(Permission denied\)"):
        with run_folder(tmp_path / "deep" / "one"):
            pass
    assert names(tmp_path) == []


def test_two_runs_into_one_place(tmp_path):
    """The second is refused at once while the first goes on, and the first is not disturbed."""
    place = tmp_path / "one"
    first = start(SLOW_RUN, place)
    with pytest.raises(FolderTaken, match="another run is writing there"), run_folder(place):
        pass
    output, _ = first.communicate(timeout=HANGS)
    assert output == "done\n"
    assert names(place) == ["run.json", "sub", "summary.csv"]


def test_a_place_taken_meanwhile_is_not_overwritten(tmp_path):
    place = tmp_path / "one"
    with pytest.raises(FolderTaken, match="was taken"), run_folder(place) as folder:
        (folder.partial / "run.json").write_text("{}")
        place.mkdir()
        (place / "precious").write_text("precious")
    assert names(place) == ["precious"]
    assert names(tmp_path) == ["one"]


def test_numbered_places_step_aside(tmp_path):
    seen = []
    for _ in range(3):
        with run_folder(tmp_path / "one", numbered=True) as folder:
            (folder.partial / "run.json").write_text("{}")
        seen.append(folder.place.name)
    assert seen == ["one", "one-2", "one-3"]


def test_runs_that_start_together_get_places_of_their_own(tmp_path):
    place = tmp_path / "one"
    with run_folder(place, numbered=True) as first, run_folder(place, numbered=True) as second:
        (first.partial / "a").write_text("")
        (second.partial / "b").write_text("")
    assert names(tmp_path / "one") == ["a"]
    assert names(tmp_path / "one-2") == ["b"]


def test_csv_is_exact_and_the_same_everywhere():
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, float("nan"), float("inf"), 1e22, 123456789.0]
    frame = pd.DataFrame({"x": values, "word": ["none"] * len(values), "count": range(len(values))})
    text = csv_text(frame)
    assert text.splitlines()[0] == "x,word,count"
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [repr(x) for x in values]
    assert text.endswith("\n")
    assert "\r" not in text


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "run.json", {"x": float("nan")})


def test_killed_runs_hold_no_lock(tmp_path, monkeypatch):
    """The lock dies with its owner: no waiting, no age, no process number that could be somebody else's."""
    place = tmp_path / "one"
    for _ in range(3):
        stop(start(SLOW_RUN, place), signal.SIGKILL)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    with run_folder(place) as folder:
        (folder.partial / "run.json").write_text("{}")
    assert names(tmp_path) == ["one"]


def test_a_file_written_again_clears_what_a_killed_process_left_of_it(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    dead, alive = (tmp_path / f".table.csv.{number}.partial" for number in (process.pid, os.getppid()))
    other = tmp_path / f".other.csv.{process.pid}.partial"
    for path in (dead, alive, other):
        path.write_text("half")
    files.write_whole(tmp_path / "table.csv", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", alive.name, other.name}


def test_a_growing_folder_that_was_killed_before_its_record_is_begun_anew(tmp_path):
    """The first file of a run, run.json, was on its way to its name."""
    place = tmp_path / "run"
    place.mkdir()
    (place / ".lock").touch()
    (place / ".run.json.999999999.partial").write_text("half of it")
    with files.growing_folder(place) as folder:
        files.write_whole(folder / "run.json", "{}")
    assert sorted(path.name for path in place.iterdir()) == [".lock", "run.json"]
    (place / "run.json").rename(place / ".mine.partial")
    with pytest.raises(FolderTaken, match="holds other files"), files.growing_folder(place):
        pass
