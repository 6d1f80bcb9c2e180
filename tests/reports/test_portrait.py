"""What `dynlab.portrait` prints."""

from __future__ import annotations

import dataclasses

import numpy as np

from dynlab.planes.plane import PlanePoint
from dynlab.reports.portrait import print_report
from tests.tools import objects


def test_no_eigenvalue_is_minus_zero(tmp_path, capsys, monkeypatch):
    """Neither on the line of a fixed point nor in its table, where a zero came out of a difference with its sign."""
    zero = PlanePoint(np.array([0.25, 0.5]), "stable", np.array([-0.0 - 0.0j, -0.5 - 0.0j]), "eigenvalues", 0.0)
    assert "-0," not in repr(zero) and repr(zero).endswith("eigenvalues 0, -0.5)")

    from dynlab.planes import portrait

    class OfOnePoint:
        x = y = dataclasses.make_dataclass("Side", ["name", "centres"])("w21", lambda count: np.array([0.25]))

        def rates(self, *mesh):
            return [part.ravel() for part in mesh]

        def nullclines(self):
            return [("w21", np.zeros((2, 2)))]

        def fixed_points(self):
            return [zero]

    monkeypatch.setattr(portrait, "basins", lambda *_, **__: np.zeros((1, 1), np.int64))
    monkeypatch.setattr(portrait, "caption", lambda plane: "")
    found = portrait.compute_portrait(OfOnePoint(), 1, 0, until=1.0)
    print_report(dataclasses.replace(objects.portrait(), fixed_points=found.fixed_points), tmp_path)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fixed point"))
    assert line == "fixed point (0.25, 0.5): stable, eigenvalues 0, -0.5"
    assert not np.signbit(found.fixed_points[["real_1", "imag_1", "imag_2"]].to_numpy()).any()
