"""TensorBoard's event file of a pretraining run, by tensorboardX (extra `tensorboard`): metrics.csv, a scalar a column.

A run has one such file, which holds the lines of its metrics.csv and no others. A run that goes on from a checkpoint writes
the file anew from the lines that it keeps, and removes the old one: no step is in it twice, whatever the run had reached
before it was stopped. Numbers that are not known (nan) are left out. TensorBoard has floats of 32 bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from dynlab.tools.checks import SettingError

PATTERN = "events.out.tfevents.*"
INSTALL = "python -m pip install 'dynlab-ssl[tensorboard]'"


def event_files(folder: Path) -> list[Path]:
    """The event files in the folder of a run."""
    return sorted(folder.glob(PATTERN))


def require_tensorboard() -> None:
    """SettingError that names the extra where tensorboardX is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise SettingError("tensorboard", True, f"used with the extra tensorboard: {INSTALL}") from None


class EventFile:
    """The event file of a run in its folder, begun anew in place of those that are there."""

    def __init__(self, folder: Path) -> None:
        # Not its SummaryWriter, which writes from a thread of its own: a full disk would be noticed by nobody.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        before = event_files(folder)
        self._writer = EventsWriter(str(folder.absolute() / "events"), f".{time.time_ns()}")
        if before:  # a viewer that runs drops what it has read of them
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=0, session_log=start))
        for old in before:
            old.unlink()

    def add(self, values: Mapping[str, float], wall_time: float) -> None:
        """Add a line of metrics, its step among the values; wall_time: seconds since 1970."""
        from tensorboardX.proto import event_pb2, summary_pb2

        known = {name: float(value) for name, value in values.items() if name != "step" and not math.isnan(value)}
        scalars = [summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in known.items()]
        summary = summary_pb2.Summary(value=scalars)
        self._writer.write_event(event_pb2.Event(wall_time=wall_time, step=int(values["step"]), summary=summary))

    def flush(self) -> None:
        """Bring what was added to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
