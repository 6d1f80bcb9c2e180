"""Pretraining step by step: views, encoder, projector, head, loss and updates, all where `ops` computes.

Rows 0..B-1 of every array are view 1 of the pictures, rows B..2B-1 view 2; batch norm has statistics of its own in each
half. With x the views, z = projector(encoder(x)), F = head(z) and G the target's z, view 1's F meets view 2's G and the
other way round (`dynlab.images.losses`). DINO's prototypes take the head's place, and the target has its own. Local views go
through a copy of the networks for pictures of their size: rows 2B.. of z and F, view by view, each with batch statistics of
its own; running statistics are those of the two views.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynlab.images import losses
from dynlab.images.data.pipelines import pipelines_of
from dynlab.images.networks import head
from dynlab.images.networks.encoder_and_projector import Networks
from dynlab.images.networks.prototypes import Prototypes
from dynlab.images.ops import in_place
from dynlab.images.own_parts import OwnLoss
from dynlab.images.settings import OWN_LOSSES, Pretraining
from dynlab.images.training import optimise
from dynlab.images.training.course import Course
from dynlab.images.verdict import NotFinite
from dynlab.images.worth import accuracy, spectrum
from dynlab.images.worth.knn import knn
from dynlab.images.worth.representations import features_of, networks_of

KNN_BANK, KNN_QUERIES = 10_000, 2_000  # pictures of the training set that the accuracy on the way uses
ORDER = 1  # stream of numpy's generator that orders the pictures of an epoch


class Trainer:
    """The state of a pretraining run and its step.

    settings : Pretraining. data_set : ImageSet, whose labels only `knn` looks at. ops : where the layers compute.
    dtype : of everything but the views that `ops.augment` makes.
    """

    def __init__(self, settings: Pretraining, data_set, ops, dtype: str = "float32"):
        self.settings, self.ops, self.dtype = settings, ops, dtype
        self.take(data_set)
        self.epoch_steps, self.total = settings.epoch_steps(self.count), settings.total_steps(self.count)
        self.course = Course(settings, self.epoch_steps, self.total)
        rows, crops = 2 * settings.batch, settings.local_views * settings.batch
        self.networks = self.fresh_networks()
        self.judge: Networks | None = None  # the same networks for whole pictures, once they are asked for
        self.target = self.fresh_networks() if settings.target == "average" else None
        m = self.networks.outputs
        self.head = make_head(settings, m, ops, dtype)
        self.target_head = make_head(settings, m, ops, dtype) if settings.prototypes else None
        outputs = settings.prototypes or m
        self.objective = make_objective(settings, ops, rows, outputs, dtype)
        self.decorrelation = None
        if settings.decorrelation > 0.0:
            self.decorrelation = losses.Decorrelation(settings.decorrelation, ops, rows, m, dtype)
        last: dict[str, Any] = {"prototypes": self.head} if settings.prototypes else {}
        if not last and self.head.trains and settings.head_lr:
            last = {"head": self.head}
        self.trained: dict[str, Any] = self.networks.parts() | last
        self.optimisers = {name: make_optimiser(settings, name, part, ops) for name, part in self.trained.items()}
        self.x = ops.empty((rows, *self.networks.encoder.input_shape))
        self.local: Networks | None = None
        if crops:
            self.local = self.local_networks()
            self.local_x = ops.empty((crops, *self.local.encoder.input_shape))
            self.all_z = ops.empty((rows + crops, m), dtype)
        self.online, self.d_online = (ops.empty((rows + crops, outputs), dtype) for _ in range(2))
        self.goal = ops.empty((rows, outputs), dtype) if settings.prototypes else None
        self.d_z = ops.empty((rows + crops, m), dtype)
        both = settings.loss == "similarity" and settings.stop_gradient != "target"
        self.d_target = ops.empty((rows, m), dtype) if both else None
        self.order, self.epoch = np.empty(0, np.int64), -1
        self.z: Any = None

    def take(self, data_set) -> None:
        """Keep what is trained on: how many there are (`count`), their labels, and what views are made of."""
        chosen = slice(self.settings.limit)
        self.pipelines = pipelines_of(self.settings.augmentation).for_channels(data_set.pictures.shape[3])
        self.host_pictures = data_set.pictures[chosen]
        self.labels = None if data_set.labels is None else data_set.labels[chosen]
        self.count = len(self.host_pictures)
        self.pictures = in_place(self.ops, self.host_pictures)

    def fresh_networks(self) -> Networks:
        """Encoder and projector at their start, for views."""
        return Networks(self.settings, self.host_pictures.shape[3], self.ops, self.dtype)

    def local_networks(self) -> Networks:
        """The same for local views, which are smaller."""
        return Networks(self.settings, self.host_pictures.shape[3], self.ops, self.dtype, side=self.pipelines.local.size)

    def fill_view(self, chosen, epoch: int, view: int, out) -> None:
        """Fill out with a view of each of those chosen: 0 and 1 are the two of a step, the rest local ones."""
        lines = self.pipelines
        augmentation = (lines.first, lines.second)[view] if view < 2 else lines.local
        self.ops.augment(self.pictures, chosen, augmentation, self.settings.seed, epoch, view, out)

    def step(self, step: int) -> None:
        """Step number `step`, counted from 0: all that happens is a function of the state and of this number.

        What overflows is found in what it leaves: `measure`, `state` and `weights` raise `NotFinite`.
        """
        with np.errstate(all="ignore"):
            self._step(step)

    def _step(self, step: int) -> None:
        ops = self.ops
        self._views(step)
        self.z = self.networks.forward(self.x, groups=2)[1]
        z = self._with_local(self.z)
        self.head.prepare(z)
        online = self.head.forward(z, self.online)
        target = z if self.target is None else self.target.forward(self.x, groups=2)[1]
        if self.target_head is not None:
            target = self.target_head.forward(target, self.goal)
        if isinstance(self.objective, losses.Dino):
            self.objective.teacher_temperature = self.course.teacher_temperature(step)
        self.objective.step(online, target, self.d_online, self.d_target)
        self.head.backward(self.d_online, z, self.d_z)
        if self.d_target is not None:
            ops.axpy(1.0, self.d_target, self.d_z)
        if self.decorrelation is not None:
            self.decorrelation.step(self.z, self.d_z[: self.z.shape[0]], self.objective.value)
        if self.settings.loss_weight != 1.0:
            ops.scale(self.d_z, self.settings.loss_weight)
            ops.scale(self.head.gradients, self.settings.loss_weight)
        self._backward(self.d_z)
        self._update(step)

    def _with_local(self, z):
        """z of all views: that of the two, and below it that of the local ones."""
        if self.local is None:
            return z
        ops, rows = self.ops, z.shape[0]
        self.local.follow(self.networks)
        ops.copy(z, self.all_z[:rows])
        ops.copy(self.local.forward(self.local_x, groups=self.settings.local_views)[1], self.all_z[rows:])
        return self.all_z

    def _backward(self, d_z) -> None:
        """Fill the networks' gradients, those of the local views with them."""
        if self.local is None:
            self.networks.backward(d_z)
            return
        rows = 2 * self.settings.batch
        self.networks.backward(d_z[:rows])
        self.local.backward(d_z[rows:])
        for name, part in self.local.parts().items():
            self.ops.axpy(1.0, part.gradients, self.networks.parts()[name].gradients)

    def measure(self, step: int) -> dict[str, float]:
        """Rate and loss of the step just made, spectrum and size of its z, norm and asymmetry of the head after it.

        Of DINO without prototypes, whose loss does not see the mean of a row, rank and correlation are of z less it; the
        entropies are its teacher's. Raises `NotFinite`.
        """
        z, loss = self.ops.to_host(self.z), self.settings.loss_weight * self.objective.loss()
        NotFinite.check("outputs", z)
        NotFinite.check("the loss and the head", np.array(loss), self.ops.to_host(self.head.parameters))
        shape = spectrum.shape(losses.seen("" if self.settings.prototypes else self.settings.loss, z))
        norm, asymmetry = self.head.norm_and_asymmetry()
        sd, unit_sd = accuracy.spread(z)
        mean, each = self.objective.entropies()
        return {
            "lr": self.course.rate(step), "loss": loss, "rank": shape.rank, "correlation": shape.mean_abs_correlation,
            "head_norm": norm, "head_asymmetry": asymmetry, "sd": sd, "unit_sd": unit_sd,
            "entropy_mean": mean, "entropy": each,
        }  # fmt: skip

    def knn(self) -> float:
        """Accuracy of nearest neighbours among the first training pictures for some of the last; nan without labels.

        Raises `NotFinite`.
        """
        if self.labels is None:
            return float("nan")
        queries = min(KNN_QUERIES, max(self.count // 5, 1))
        bank = slice(0, min(KNN_BANK, self.count - queries))
        asked = slice(self.count - queries, self.count)
        if self.judge is None:
            self.judge = networks_of(self.settings, self.host_pictures, self.ops)
        self.judge.follow(self.networks)
        features = [features_of(self.judge, self.host_pictures[part], self.settings)[0] for part in (bank, asked)]
        NotFinite.check("features", *features)
        return knn(features[0], self.labels[bank], features[1], self.labels[asked]).share

    def weights(self) -> dict[str, np.ndarray]:
        """What evaluation needs, on the host: networks, and the head. Raises `NotFinite`."""
        kept = self.networks.state() | {"head_parameters": self.ops.to_host(self.head.parameters)}
        NotFinite.check("weights", *kept.values())
        return kept

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, on the host. Raises `NotFinite`."""
        kept = self.networks.state()
        if self.target is not None:
            kept |= {f"target/{name}": value for name, value in self.target.state().items()}
        if self.target_head is not None:
            kept |= {f"target_head/{name}": value for name, value in self.target_head.save().items()}
        kept |= {f"head/{name}": value for name, value in self.head.save().items()}
        kept |= {f"objective/{name}": value for name, value in self.objective.save().items()}
        for name, optimiser in self.optimisers.items():
            kept |= {f"optimiser/{name}/{key}": value for key, value in optimiser.save().items()}
        NotFinite.check("weights", *kept.values())
        return kept

    def restore(self, state: dict) -> None:
        """Go on from what `state` returned."""
        self.networks.load(state)
        if self.target is not None:
            self.target.load(_under(state, "target"))
        if self.target_head is not None:
            self.target_head.load(_under(state, "target_head"))
        self.head.load(_under(state, "head"))
        self.objective.load(_under(state, "objective"))
        for name, optimiser in self.optimisers.items():
            optimiser.load(_under(state, f"optimiser/{name}"))

    def _views(self, step: int) -> None:
        """Fill x with two views of the pictures whose turn it is, and local_x with the local ones."""
        epoch, place = divmod(step, self.epoch_steps)
        if epoch != self.epoch:
            order = np.random.default_rng((self.settings.seed, ORDER, epoch)).permutation(self.count)
            self.order, self.epoch = self.ops.to_device(order), epoch
        batch = self.settings.batch
        chosen = self.order[place * batch : (place + 1) * batch]
        places = [(self.x, 0), (self.x, 1)] + [(self.local_x, i) for i in range(self.settings.local_views)]
        for view, (place, i) in enumerate(places):
            self.fill_view(chosen, epoch, view, place[i * batch : (i + 1) * batch])

    def _update(self, step: int) -> None:
        course, settings = self.course, self.settings
        moving = {name: part for name, part in self.trained.items() if course.moves(name, step)}
        if settings.gradient_clip > 0.0:
            optimise.clip_gradients(moving.values(), settings.gradient_clip, self.ops)
        for name, part in moving.items():
            mover, head = self.optimisers[name], name == "head"
            if not head:
                mover.weight_decay = course.weight_decay(step)
            mover.step(part.parameters, part.gradients, course.head_rate(step) if head else course.rate(step))
        if self.target is not None:
            momentum = course.target_momentum(step)
            for name, network in self.target.parts().items():
                self.ops.mix(1.0 - momentum, self.trained[name].parameters, network.parameters)
            if self.target_head is not None and course.moves("prototypes", step):
                self.ops.mix(1.0 - momentum, self.head.parameters, self.target_head.parameters)


def make_objective(settings: Pretraining, ops, rows: int, outputs: int, dtype: str = "float32") -> losses.Objective:
    """The objective of the settings, built in or registered."""
    own, numbers = OWN_LOSSES.get(settings.loss), losses.LossSettings.of(settings)
    if own is None:
        return losses.make(settings.loss, numbers, ops, rows, outputs, dtype)
    return OwnLoss(own, numbers, ops, rows, outputs, dtype)


def make_head(settings: Pretraining, outputs: int, ops, dtype: str = "float32"):
    """The head of the settings, or DINO's prototypes, at its start."""
    if settings.prototypes:
        return Prototypes(settings.prototypes, outputs, ops, dtype, settings.seed)
    if settings.head == "mlp":
        return head.make("mlp", outputs, ops, dtype, hidden=settings.head_hidden, seed=settings.seed)
    numbers = {"rho": settings.head_rho, "eps": settings.head_eps, "every": settings.head_every}
    return head.make(settings.head, outputs, ops, dtype, start=settings.head_start, seed=settings.seed, **numbers)


def make_optimiser(settings: Pretraining, name: str, part, ops):
    """The optimiser of a network or of the head, which has its own weight decay."""
    decay = settings.head_decay if name == "head" else settings.weight_decay
    more: dict[str, Any] = {} if settings.optimiser in ("adam", "adamw") else {"momentum": settings.momentum}
    if settings.optimiser == "lars":
        more |= {"trust": settings.lars_trust, "rates": settings.lars_rate}
    return optimise.make(settings.optimiser, part.parameters, part.decays, ops, part.segments, weight_decay=decay, **more)


def _under(state: dict, prefix: str) -> dict:
    """The part of a state whose names begin with prefix/, without it."""
    return {name.removeprefix(f"{prefix}/"): value for name, value in state.items() if name.startswith(f"{prefix}/")}
