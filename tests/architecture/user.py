"""What users write, for a type checker alone (see `test_hints`): `# wrong: CODE` marks the lines that it must refuse."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import dynlab

model = dynlab.Model(strong=1.0, weak=0.3, activation="cubic")
training = dynlab.Training(head="linear", eta_head=0.01)
start = dynlab.OrderParameters.sample(model, 1000, np.random.default_rng(0))

run = dynlab.simulate(model, start, until=1e6, training=training, times=[0.0, 1.0])
assert_type(run, dynlab.Trajectory)
assert_type(run.success, bool)
assert_type(run.events["first"], float)
assert_type(run.final, dynlab.OrderParameters)

found = dynlab.ensemble(model, dim=1000, seeds=200, head="none")
assert_type(found, dynlab.Ensemble)
assert_type(found.model, dynlab.Model)

loss, d_weights, d_head = dynlab.population_gradient(model, [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], np.eye(2))
assert_type(loss, float)
assert_type(d_weights, NDArray[np.float64])
sampled = dynlab.minibatch_gradient(model, training, np.ones((2, 8)), batch=64)
assert_type(sampled[0], float)
linear = dynlab.simulate_linear(dynlab.LinearModel(X=3), np.eye(2, 3), np.eye(2))
assert_type(linear.status, str)

mapped = dynlab.phase_map(model, x="weak=0.05:1:64", y="eta-head=1e-4:1:64:log", folder=None)
assert_type(mapped.computed, int)
assert_type(dynlab.portrait(model, x="E21=0:1", hold={"w21": 0.3}).caption, str)
assert_type(dynlab.pretrain("demo", "data", out="runs/x", head="none").status, str)
assert_type(dynlab.explore(model, seed=3).url, str)

dynlab.phase_map(model, "weak=0.05:1:64")  # wrong: call-arg
dynlab.portrait(model, hold=["w21=0.3"])  # wrong: arg-type
dynlab.Model(strong="1")  # wrong: arg-type
dynlab.Model(weaker=0.3)  # wrong: call-arg
dynlab.Training(eta_head=[0.01])  # wrong: arg-type
dynlab.simulate(model)  # wrong: call-arg
dynlab.simulate(training, start)  # wrong: arg-type
dynlab.simulate(model, start, until="1e6")  # wrong: arg-type
dynlab.ensemble(model, dims=1000)  # wrong: call-arg
wide = dynlab.ensemble(model).frames  # wrong: attr-defined
dynlab.population_loss(model, np.ones((2, 4)))  # wrong: call-arg
dynlab.minibatch_gradient(model, "linear", np.ones((2, 8)))  # wrong: arg-type
signals = run.signals  # wrong: attr-defined
model.weak = 0.2  # wrong: misc
