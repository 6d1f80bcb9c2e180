"""Trajectories made by hand: the shape of the four phases, and no solver behind them."""

import numpy as np

from dynlab.population.trajectory import Trajectory
from dynlab.settings.model import Model


def four_phases(head="off-diagonal", activation="cubic", first=1e4, peak=1.2e4, second=1.21e4, end=1e9):
    """Neuron 1 takes the strong feature at `first`; with head, neuron 2 takes the weak one at `second`."""
    jumps = np.linspace(first, 1.2 * second, 200)
    time = np.unique(np.concatenate([[0.0], np.geomspace(1.0, end, 400), jumps]))
    n = len(time)
    signal = np.full((n, 2, 2), 0.03)
    signal[time >= first, 0, 0] = 1.0
    heads = np.tile(np.eye(2), (n, 1, 1))
    if head == "off-diagonal":
        signal[time >= second, 1, 1] = 1.0
        during = (time >= first) & (time < second)
        heads[during, 1, 0] = 0.057 * np.minimum((time[during] - first) / (peak - first), 1.0)
        events = {"first": first, "second": second, "peak": peak, "stationary": end}
    else:
        signal[time >= 30 * second, 1, 0] = 1.0
        events = {"first": first, "second": np.nan, "peak": np.nan, "stationary": end}
    return Trajectory(
        model=Model(activation=activation),
        settings={"head": head, "eta_head": 0.01, "until": None, "method": "flow", "rtol": 1e-6},
        time=time,
        signal=signal,
        noise_gram=np.tile([[1.0, 0.1], [0.1, 1.0]], (n, 1, 1)) * np.exp(-time / first)[:, None, None],
        head=heads,
        loss=np.linspace(4.0, 4 / 3, n),
        events=events,
        status="stationary",
        steps=n,
        rejected=3,
    )
