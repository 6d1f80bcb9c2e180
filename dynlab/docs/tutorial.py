# %% [markdown]
# # From one run to a phase diagram
#
# Siamese networks are trained to make two views of one input agree. A constant output agrees perfectly, and yet networks
# with a *prediction head* do not end there. This tutorial follows the model in which Wen & Li (NeurIPS 2022) explain why:
# first one run, then many, then what changes with the settings, with finite data, and with an activation of your own.
#
# Each claim below is asserted in the code beside it. The script runs as it is, and cell by cell in a notebook. Its
# figures go to the folder named by the environment variable `DYNLAB_FIGURES`, or to a temporary one.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np

import dynlab

FIGURES = Path(os.environ.get("DYNLAB_FIGURES") or tempfile.mkdtemp(prefix="dynlab-tutorial-"))
FIGURES.mkdir(parents=True, exist_ok=True)


def keep(figure, name):
    """Save a figure, and hand it on for the notebook to show."""
    figure.savefig(FIGURES / f"{name}.png")
    return figure


# %% [markdown]
# ## One run
#
# A sample has 16 patches. Four of them show one of two features, the strong or the weak one; the others are noise. Each of
# two views keeps half of the patches. Two neurons with the activation $z^3$ are trained to agree across views, each output
# standardised over the population, and a head, the identity at first, may mix the outputs of one view. `Model` holds these
# settings, and shows those that differ from the defaults.

# %%
model = dynlab.Model(strong=1.0, weak=0.3)
model

# %% [markdown]
# The loss depends on the weights only through a few inner products, the *order parameters*: the signals (neurons by
# features), the Gram matrix of the noise parts, and the head. So a random start in 1000 dimensions is a few numbers, and the
# flow of the exact gradient, over ten decades of time, takes milliseconds (the first call compiles).

# %%
start = dynlab.OrderParameters.sample(model, dim=1000, rng=np.random.default_rng(0))
run = dynlab.simulate(model, start, eta_head=0.01)
run

# %%
assert run.success
strong_and_weak = run.cosines[-1].max(axis=0)  # of each feature, the largest squared cosine with any neuron
assert (strong_and_weak > 0.99).all(), "both features are learnt"
keep(run.plot(), "with_head")

# %% [markdown]
# The figure shows the four phases. **I**: one neuron learns the strong feature; the head has hardly moved. **II**,
# *substitution*: the head grows, and lends the strong feature to the other output. **III**, *acceleration*: with the
# strong feature on loan, the weak one is the fastest thing left to learn, and the other neuron learns it. **IV**: the head
# returns to the identity. A conservation law bounds the head by $\sqrt{\eta_E/3}$ times the length of the borrowing neuron.

# %%
events = run.events
assert events["first"] < events["peak"] < events["second"]
head = np.abs(run.head - np.eye(2)).max(axis=(1, 2))
lengths = np.sqrt((start.signal**2).sum(axis=1) + np.diagonal(start.noise_gram))
assert 0.99 * np.sqrt(0.01 / 3) * lengths.min() < head.max() < np.sqrt(0.01 / 3) * lengths.max() * (1 + 1e-6)
assert head[-1] < 1e-12, "the head returns"
run.frame[["time", "loss", "signal_1_1", "signal_1_2", "signal_2_1", "signal_2_2"]].tail(3).round(3)

# %% [markdown]
# ## The same start without the head
#
# Both neurons learn the strong feature: the output has collapsed to one dimension. The loss does not tell: it ends at the
# same value, the least possible one.

# %%
collapsed = dynlab.simulate(model, start, head="none")
assert (collapsed.cosines[-1, :, 0] > 0.99).all(), "both neurons hold the strong feature"
assert collapsed.cosines[-1, :, 1].max() < 0.01, "nobody holds the weak one"
assert abs(collapsed.loss[-1] - 4 / 3) < 1e-12 and abs(run.loss[-1] - 4 / 3) < 1e-12
keep(collapsed.plot(), "without_head")

# %% [markdown]
# ## Many starts, and the race law
#
# One start is an anecdote. `ensemble` trains from as many as you like, here in $10^6$ dimensions.

# %%
with_head = dynlab.ensemble(model, dim=10**6, seeds=2000)
without = dynlab.ensemble(model, dim=10**6, seeds=2000, head="none")
assert (with_head.frame["outcome"] == "both").mean() > 0.97
assert (without.frame["outcome"] == "only_strong").mean() > 0.75
keep(with_head.plot(), "ensemble")

# %% [markdown]
# Without the head each neuron runs a race of its own. Its signal of feature $l$ blows up after a time proportional to
# $1/(\alpha_l^6 A_l^4)$, so the weak feature wins where $|A_2/A_1| > (\alpha_1/\alpha_2)^{3/2}$ at the start, $\alpha_1$
# being `strong` and $\alpha_2$ `weak`. The signals are Gaussian: a neuron takes the weak feature with probability
#
# $$p = \frac{2}{\pi} \arctan \Bigl(\frac{\alpha_2}{\alpha_1}\Bigr)^{3/2},$$
#
# and both features are learnt with probability $2p(1-p)$. The law holds start by start.

# %%
signal = without.starts[0]  # (seeds, neurons, features)
takes_weak = np.abs(signal[:, :, 1] / signal[:, :, 0]) > (model.strong / model.weak) ** 1.5
predicted = takes_weak[:, 0] != takes_weak[:, 1]
found = without.frame["outcome"].to_numpy() == "both"
assert (predicted == found).mean() > 0.995

p = 2 / np.pi * np.arctan((model.weak / model.strong) ** 1.5)
law = 2 * p * (1 - p)
assert abs(found.mean() - law) < 3 * np.sqrt(law * (1 - law) / len(found))
print(f"both features without head: {found.mean():.3f} of the starts, {law:.3f} by the race law")

# %% [markdown]
# ## A phase diagram
#
# Two settings varied together: the strength of the weak feature, and the rate of the head. With the head nearly every start
# learns both features; the slower the head, the more. Without it the share follows the race law, and at equal strengths it
# is one half.

# %%
folder = Path(tempfile.mkdtemp(prefix="dynlab-map-"))  # of the points; computed once, they are there for any other map
shares = dynlab.phase_map(model, x="weak=0.1:0.9:7", y="eta-head=1e-3:1:4:log", folder=folder, dim=10**6, seeds=64)
assert shares.field("off-diagonal").min() > shares.field("none").max()
slow, fast = shares.field("off-diagonal")[[0, -1]].mean(axis=1)
assert slow > fast
wrong = np.abs(shares.field("none") - shares.field("none", "predicted"))
assert wrong.mean() < 0.06, "the standard error of 64 starts is up to 0.0625"
keep(shares.plot(), "phase_diagram")

# %% [markdown]
# ## Finite samples
#
# The same model on real minibatches: `method="sgd"` draws patches and normalises with the statistics of the batch. Beside it
# stands the exact descent, the limit of infinite batches. The larger the batch, the nearer the run stays.

# %%
from dynlab.samples.overlay import distance

early = dynlab.OrderParameters(np.array([[0.4, 0.1], [0.15, 0.3]]), 0.6 * np.eye(2))  # some way into training
steps: dict = {"eta": 0.05, "steps": 400, "times": np.arange(0.0, 20.1)}
exact = dynlab.simulate(model, early, method="descent", **steps)
apart = {}
for batch in (64, 1024):
    runs = [dynlab.simulate(model, early, method="sgd", batch=batch, dim=16, seed=seed, **steps) for seed in range(3)]
    apart[batch] = np.sqrt(np.mean([distance(one, exact) ** 2 for one in runs]))
assert apart[1024] < apart[64] / 2
print("distance from the theory: " + ", ".join(f"{d:.2f} with batches of {batch}" for batch, d in apart.items()))

# %% [markdown]
# ## An activation of your own
#
# An activation is a homogeneous function: of degree $q$ if $\phi(a z) = a^q \phi(z)$ for $a > 0$. `register_activation` adds
# one from outside of the package. Name, function and degree are enough: the Gaussian moments that the exact loss needs
# follow from the degree. If you give your own derivation of them, here the covariance of $\phi(z_1)$ and $\phi(z_2)$ at
# correlation $c$, it is checked against quadrature, and a wrong one is refused.


# %%
def covariance_of_quintics(c, s, eps):
    """Of z_1^5 and z_2^5, standard normals with correlation c (s, eps: its sine, and how far it is from antiparallel)."""
    return 225 * c + 600 * c**3 + 120 * c**5


dynlab.register_activation("quintic", lambda z: z**5, degree=5, covariance=covariance_of_quintics)
try:
    dynlab.register_activation("septic", lambda z: z**7, degree=7, covariance=covariance_of_quintics)
except dynlab.SettingError as error:
    assert "covariance" in str(error)
else:
    raise AssertionError("a wrong covariance must be refused")

# %% [markdown]
# The race law of degree $q$: a signal blows up after a time proportional to $1/(\alpha_l^{2q} A_l^{2q-2})$, so a neuron
# takes the weak feature where $|A_2/A_1| > (\alpha_1/\alpha_2)^{q/(q-1)}$ at the start. For the quintic that is the power
# 5/4, and signals take $d^4$ units of time to grow.

# %%
quintic = dynlab.Model(activation="quintic", weak=0.5)
raced = dynlab.ensemble(quintic, dim=1000, seeds=200, head="none")
signal = raced.starts[0]
takes_weak = np.abs(signal[:, :, 1] / signal[:, :, 0]) > (quintic.strong / quintic.weak) ** (5 / 4)
predicted = takes_weak[:, 0] != takes_weak[:, 1]
found = raced.frame["outcome"].to_numpy() == "both"
assert (raced.frame["outcome"] != "failed").all()
assert (predicted == found).mean() > 0.98
rescued = dynlab.ensemble(quintic, dim=1000, seeds=200, eta_head=0.01)
assert (rescued.frame["outcome"] == "both").mean() > found.mean() + 0.2, "the head rescues the weak feature here too"
keep(rescued.plot(), "quintic")
