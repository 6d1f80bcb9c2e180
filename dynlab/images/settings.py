"""The settings of pretraining on pictures, and the recipes: named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.formulas import head_rules
from dynlab.images.networks.nodes import POINTWISE_KINDS
from dynlab.images.recipes.recipe_files import KNOWN_RECIPES, Recipe, RecipeSettings, is_file, read_recipe
from dynlab.population.head_matrices import FROM_CORRELATION
from dynlab.settings.model import READOUTS
from dynlab.settings.training import STOP_GRADIENTS, TARGETS
from dynlab.tools import show
from dynlab.tools.checks import SettingError, choice, integer, memory, nearest, real, require
from dynlab.tools.files import expanded
from dynlab.tools.schedules import SCHEDULES

if TYPE_CHECKING:
    from dynlab.images.data.pipelines import Pipelines

OWN_PICTURES = ("folder", "arrays")  # sets of the user's own (`dynlab.images.data.own_pictures`)
SPEECH = "speech"  # recordings in place of pictures (`dynlab.sounds`)
DATASETS = ("cifar10", "cifar100", "stl10", "mnist", "fashion-mnist", *OWN_PICTURES, SPEECH)
LEAST_SIDE, MOST_SIDE, USUAL_SIDE = 8, 1024, 32  # pixels that pictures from files are brought to
ENCODERS = ("patch", "demo", "convnet", "resnet18")
PATCH_SETTINGS = ("activation", "hidden", "readout", "neurons", "patch_side")  # of encoder "patch" alone
PATCH_OUTPUTS, PATCH_SIDE = 64, 4  # where nothing else is said
SOUND_ENCODERS = ("tdnn", "demo", "convnet")  # of speech
SOUND_VIEWS = ("speech", "voices", "segments")  # in place of augmentations (`dynlab.sounds.segments`)
LOCAL_FRAMES = 24  # of a local view of speech: half as long as the two others
SOUND_SETTINGS = ("pattern", "held_out", "rate", "bands", "joined")  # None without speech
PICTURE_HEADS = (*head_rules.MATRIX_HEADS, "mlp")
LOSSES = ("similarity", "barlow-twins", "vicreg", "dino", "simclr")
PICTURE_NORMALISATIONS = ("batch", "length")
HEAD_STARTS = ("identity", "random")
PROJECTOR_NORMS = ("none", "batch")
PICTURE_OPTIMISERS = ("sgd", "adam", "adamw", "lars")
LARS_RATES = ("scaled", "clipped")
OUTPUT_BYTES = 36  # for each of DINO's outputs: itself, the target's and the gradient, and three shares in double precision
TRAINED = 12  # bytes for each weight: itself, its gradient and what an optimiser keeps of it
# What `dynlab.images.own_parts` has registered in this process, by name.
OWN_ENCODERS: dict[str, Any] = {}
OWN_LOSSES: dict[str, Any] = {}
_LEAST = {"batch": 2, "epochs": 1, "record": 1, "knn_every": 0, "seed": 0, "head_every": 1, "local_views": 0}
REPRESENTATIONS = ("encoder", "z", "random encoder", "random z", "pixels")  # what is measured of a run


@dataclass(frozen=True)
class Pretraining:
    r"""How an encoder is pretrained: frozen and validated. The loss is that of the theory on a batch
    (`dynlab.settings.training`):

        L = loss_weight * mean over both directions of E |F~ - StopGrad(G~)|^2 + decorrelation * sum_{i != j} corr_ij^2,

    with F = E z the online output, z = projector(encoder(view 1)), G = z of view 2.

    Parameters
    ----------
    dataset, limit : the training pictures, and how many of them (None: all).
    encoder : "patch", "demo", "convnet" or "resnet18" (`dynlab.images.networks.encoders`), or a registered one.
    projector : widths of its layers, the last one the number m of outputs; () for none.
    projector_norm : what follows its last layer: "none", or "batch", a batch norm without affine map (SimSiam's).
    head : "none", "off-diagonal", "linear", "symmetric", "directpred", "directcopy" (`dynlab.formulas.head_rules`), or
    "mlp".
    head_start : "identity" or "random", where the entries that train start (mlp: always random).
    head_hidden : hidden units of "mlp" (None: as many as outputs).
    loss : "similarity" (BYOL, SimSiam), "barlow-twins", "vicreg", "dino", "simclr", or a registered one
        (`dynlab.images.own_parts`).
    normalisation : of the outputs in "similarity": "batch" (each output standardised over the batch, as in the theory) or
        "length" (each row divided by its length, as in BYOL and SimSiam).
    stop_gradient, target, target_momentum : as in the theory; momentum of the moving average a step.
    decorrelation, loss_weight : the weights above. The first is of a sum over m(m - 1) pairs of outputs, from 0 to
        m(m - 1); with 1/(m(m - 1)) it is the mean.
    temperature : of "simclr".
    optimiser, lr, momentum, weight_decay : "sgd" (with momentum), "adam", "adamw" or "lars"; the decay leaves norms and
        biases out.
    head_lr, head_decay : rate of the head in units of lr, and its own weight decay.
    schedule, warm_up : "constant", "cosine" or "step"; epochs of linear growth at the start
        (`dynlab.images.training.course`).
    batch, epochs, steps : pictures a step; epochs, unless a number of steps is given.
    augmentation : how views are drawn: the name of a set, a table or a file of TOML (`dynlab.images.data.pipelines`).
    seed : of the start, of the order of the pictures and of the views.
    record, knn_every : steps between lines of metrics.csv, epochs between kNN accuracies (0: never).
    side : pixels of a side that pictures of dataset "folder" are brought to (None: those of a view, 32 at least).
    lars_trust, lars_rate : of "lars": its coefficient, and what a tensor's rate is (`dynlab.images.training.optimise.Lars`).
    gradient_clip : largest norm of the gradient of all that is trained together (0: any).
    lr_last, milestones, drop : where the schedule leads; shares of the run (after the warm-up) at which "step" falls, and to
        what part.
    head_schedule : the head's own, with the same warm-up (None: as `schedule`).
    decay_schedule, decay_last : of weight_decay, and where it leads.
    target_schedule, target_last : of target_momentum, and where it leads.
    pattern, held_out, rate, bands, joined : of dataset "speech" alone: how files are named, which are tested on, samples a
        second, bands of the features, seconds that recordings of a speaker are joined to (`dynlab.sounds.speech_set`).
    barlow_weight, vicreg_weights : lambda of "barlow-twins"; invariance, variance and covariance of "vicreg".
    head_rho, head_eps, head_every : of "directpred" and "directcopy": of the moving correlation, what is added to the
        eigenvalues, and steps from one head set by it to the next, between which the head follows its gradient.
    prototypes : of "dino": outputs of a last layer of unit weights on z of unit length (None: z itself is the outputs).
    freeze_prototypes : epochs at the start in which that layer stays as it is.
    student_temperature, teacher_temperature, centre_momentum : of "dino".
    teacher_start, teacher_warm_up : the teacher's temperature at the start (None: the same), and epochs in which it goes
        linearly from there.
    local_views : of "dino": smaller views of a picture that the student sees beside the two.
    activation, hidden, readout, neurons : of encoder "patch" alone: phi (None: "cubic"), hidden units of each output and who
        sums over them, as in `dynlab.Model`, and the number of outputs (None: 64).
    patch_side : pixels of a side of its patches (None: 4).

    Raises SettingError: one line with the setting, its value and what is allowed.
    """

    dataset: str = "cifar10"
    limit: int | None = None
    encoder: str = "convnet"
    projector: tuple[int, ...] = (128, 64)
    projector_norm: str = "none"
    head: str = "off-diagonal"
    head_start: str = "identity"
    head_hidden: int | None = None
    loss: str = "similarity"
    normalisation: str = "length"
    stop_gradient: str = "target"
    target: str = "same"
    target_momentum: float = 0.99
    decorrelation: float = 0.0
    loss_weight: float = 1.0
    temperature: float = 0.5
    optimiser: str = "adam"
    lr: float = 0.003
    momentum: float = 0.9
    weight_decay: float = 0.0
    head_lr: float = 1.0
    head_decay: float = 0.0
    schedule: str = "constant"
    warm_up: float = 0.0
    batch: int = 128
    epochs: int = 20
    steps: int | None = None
    augmentation: str | Pipelines = "demo"
    seed: int = 0
    record: int = 25
    knn_every: int = 5
    side: int | None = None
    lars_trust: float = 0.001
    lars_rate: str = "scaled"
    gradient_clip: float = 0.0
    lr_last: float = 0.0
    milestones: tuple[float, ...] = (0.6, 0.8)
    drop: float = 0.1
    head_schedule: str | None = None
    decay_schedule: str = "constant"
    decay_last: float = 0.0
    target_schedule: str = "constant"
    target_last: float = 1.0
    pattern: str | None = None
    held_out: str | None = None
    rate: int | None = None
    bands: int | None = None
    joined: float | None = None
    barlow_weight: float = 0.0051
    vicreg_weights: tuple[float, ...] = (25.0, 25.0, 1.0)
    head_rho: float = head_rules.RHO
    head_eps: float = 0.1
    head_every: int = 1
    prototypes: int | None = None
    freeze_prototypes: float = 0.0
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    teacher_start: float | None = None
    teacher_warm_up: float = 0.0
    centre_momentum: float = 0.9
    local_views: int = 0
    activation: str | None = None
    hidden: int = 1
    readout: str | None = None
    neurons: int | None = None
    patch_side: int | None = None

    def __post_init__(self) -> None:
        encoders = SOUND_ENCODERS if self.dataset == SPEECH else ENCODERS
        words = {
            "dataset": DATASETS, "encoder": (*encoders, *OWN_ENCODERS), "projector_norm": PROJECTOR_NORMS,
            "head": PICTURE_HEADS, "head_start": HEAD_STARTS, "loss": (*LOSSES, *OWN_LOSSES),
            "normalisation": PICTURE_NORMALISATIONS, "stop_gradient": STOP_GRADIENTS, "target": TARGETS,
            "optimiser": PICTURE_OPTIMISERS, "schedule": SCHEDULES, "lars_rate": LARS_RATES, "head_schedule": SCHEDULES,
            "decay_schedule": SCHEDULES, "target_schedule": SCHEDULES,
        }  # fmt: skip
        for name, allowed in words.items():
            if name != "head_schedule" or self.head_schedule is not None:
                choice(name, getattr(self, name), allowed)
        self._check_numbers()
        from dynlab.images.data import pipelines

        if self.dataset == SPEECH:
            choice("augmentation", self.augmentation, SOUND_VIEWS)
        else:
            object.__setattr__(self, "augmentation", pipelines.resolved(self.augmentation))
        require(isinstance(self.projector, (tuple, list)), "projector", self.projector, "widths of layers, as (128, 64)")
        widths = tuple(integer("projector", width, at_least=1) for width in self.projector)
        object.__setattr__(self, "projector", widths)
        last = widths[-1] if widths else 1
        layers: list[tuple[int, int, str, object]] = [(a, b, "projector", self.projector) for a, b in pairwise(widths)]
        layers += [(last, last, "projector", self.projector)]  # the head
        layers += [(last, self.head_hidden, "head_hidden", self.head_hidden)] if self.head_hidden else []
        layers += [(last, self.prototypes, "prototypes", self.prototypes)] if self.prototypes else []
        held = float(OUTPUT_BYTES) * (2 + self.local_views) * self.batch * (self.prototypes or 0)
        memory("prototypes", self.prototypes, held, f"outputs of {self.batch} pictures")
        for inside, outside, name, value in layers:
            memory(name, value, TRAINED * float(inside) * outside, f"a layer from {inside} to {outside}")
        self._check_together()

    def __repr__(self) -> str:
        return show.line("Pretraining", show.changed(self))

    def _repr_html_(self) -> str:
        return show.settings_table(self)

    def _check_numbers(self) -> None:
        for name in (
            "decorrelation", "weight_decay", "head_decay", "head_lr", "warm_up", "gradient_clip", "lr_last", "decay_last",
            "barlow_weight", "head_eps", "freeze_prototypes", "teacher_warm_up",
        ):  # fmt: skip
            object.__setattr__(self, name, real(name, getattr(self, name), at_least=0.0))
        for name in ("lr", "loss_weight", "temperature", "lars_trust", "student_temperature", "teacher_temperature"):
            object.__setattr__(self, name, real(name, getattr(self, name), above=0.0))
        object.__setattr__(self, "drop", real("drop", self.drop, above=0.0, at_most=1.0))
        for name in ("momentum", "target_momentum", "target_last", "head_rho", "centre_momentum"):
            object.__setattr__(self, name, real(name, getattr(self, name), at_least=0.0, at_most=1.0))
        shares = self._numbers("milestones", "shares of the run, as (0.6, 0.8)", above=0.0)
        rising = all(a < b for a, b in pairwise((*shares, 1.0)))
        require(rising, "milestones", self.milestones, "shares of the run below 1 that grow, as (0.6, 0.8)")
        weights = self._numbers("vicreg_weights", "three numbers: invariance, variance, covariance", at_least=0.0)
        require(len(weights) == 3, "vicreg_weights", weights, "three numbers: invariance, variance, covariance")
        if self.teacher_start is not None:
            object.__setattr__(self, "teacher_start", real("teacher_start", self.teacher_start, above=0.0))
        for name, least in _LEAST.items():
            object.__setattr__(self, name, integer(name, getattr(self, name), at_least=least))
        for name, least in (("limit", self.batch), ("steps", 1), ("head_hidden", 1), ("prototypes", 2)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name), at_least=least))

    def _numbers(self, name: str, what: str, **bounds: Any) -> tuple[float, ...]:
        """Make a setting of several numbers a tuple of them, and return it."""
        given = getattr(self, name)
        require(isinstance(given, (tuple, list)), name, given, what)
        object.__setattr__(self, name, tuple(real(name, one, **bounds) for one in given))
        return getattr(self, name)

    def _check_schedules(self) -> None:
        """Refuse an end that nothing leads to."""
        for last, schedules in (
            ("lr_last", (self.schedule, self.head_schedule)), ("decay_last", (self.decay_schedule,)),
            ("target_last", (self.target_schedule,)),
        ):  # fmt: skip
            default = {f.name: f.default for f in fields(self)}[last]
            leads = any(one not in (None, "constant") for one in schedules) or getattr(self, last) == default
            name = last.replace("lr_last", "schedule").replace("_last", "_schedule")
            require(leads, last, getattr(self, last), f'left out with {name} "constant"')
        moves = self.target == "average" or self.target_schedule == "constant"
        require(moves, "target_schedule", self.target_schedule, '"constant" with target "same", which has no momentum')

    def _check_sound(self) -> None:
        """Settings of speech, which others have not."""
        for name in SOUND_SETTINGS:
            given = getattr(self, name)
            require(given is None or self.dataset == SPEECH, name, given, f'None without dataset "{SPEECH}"')
        for name in ("pattern", "held_out"):
            given = getattr(self, name)
            require(given is None or isinstance(given, str), name, given, "text")
        for name, allowed in (("rate", (8000, 16000)), ("bands", (40, 80))):
            given = getattr(self, name)
            require(given is None or given in allowed, name, given, f"{allowed[0]} or {allowed[1]}")
        if self.joined is not None:
            object.__setattr__(self, "joined", real("joined", self.joined, at_least=0.0, at_most=3600.0))

    def _check_together(self) -> None:
        """Refuse combinations that have no meaning, saying why."""
        self._check_schedules()
        self._check_sound()
        if self.side is not None:
            object.__setattr__(self, "side", integer("side", self.side, at_least=LEAST_SIDE, at_most=MOST_SIDE))
            why = f'None with dataset "{self.dataset}", whose pictures have a size'
            require(self.dataset == "folder", "side", self.side, why)
        some = bool(self.projector) or self.projector_norm == "none"
        require(some, "projector_norm", self.projector_norm, '"none" without a projector')
        self._check_patch()
        self._check_dino()
        self._check_batch()
        average = self.target == "average"
        if self.loss in OWN_LOSSES and has_target(self.loss):
            why = f'"target" with loss "{self.loss}", which has no gradient for that side'
            require(self.stop_gradient == "target", "stop_gradient", self.stop_gradient, why)
        if not has_target(self.loss):
            require(self.head == "none", "head", self.head, f'"none" with loss "{self.loss}", which has no head')
            why = f'with loss "{self.loss}"'
            allowed = "average" if self.loss == "dino" else "same"
            require(self.target == allowed, "target", self.target, f'"{allowed}" {why}')
            side = "target" if self.loss == "dino" else "none"
            require(self.stop_gradient == side, "stop_gradient", self.stop_gradient, f'"{side}" {why}')
        require(
            not average or self.stop_gradient == "target", "stop_gradient", self.stop_gradient,
            '"target" with target "average", which no gradient trains',
        )  # fmt: skip

    def _check_patch(self) -> None:
        """Settings of encoder "patch", which others have not."""
        from dynlab.images.data.pipelines import pipelines_of

        object.__setattr__(self, "hidden", integer("hidden", self.hidden, at_least=1))
        if self.encoder != "patch":
            for name in PATCH_SETTINGS:
                given = getattr(self, name)
                why = f'left out with encoder "{self.encoder}": it is of "patch"'
                require(given is None or (name == "hidden" and given == 1), name, given, why)
            return
        for name, allowed in (("activation", POINTWISE_KINDS), ("readout", READOUTS)):
            if getattr(self, name) is not None:
                choice(name, getattr(self, name), allowed)
        if self.neurons is not None:
            object.__setattr__(self, "neurons", integer("neurons", self.neurons, at_least=1))
        view = pipelines_of(self.augmentation).size
        if self.patch_side is not None:
            side = integer("patch_side", self.patch_side, at_least=1, at_most=view, why="pixels of a side of a view")
            object.__setattr__(self, "patch_side", side)
        side, outputs = self.patch_side or PATCH_SIDE, self.neurons or PATCH_OUTPUTS
        places = 2.0 * self.batch * (view // side) ** 2  # of a step, each with every unit before and after phi
        held = float(outputs) * self.hidden * (TRAINED * (3.0 * side**2 + outputs) + 8.0 * places)
        name = "hidden" if self.hidden > 1 else "neurons"
        memory(name, getattr(self, name), held, f"{outputs} outputs of {self.hidden} hidden units each")

    def _check_dino(self) -> None:
        """Refuse parts of DINO without it, and a warm-up or a frozen layer that there is not."""
        from dynlab.images.data.pipelines import pipelines_of

        for name, none in (("prototypes", None), ("local_views", 0)):
            given = getattr(self, name)
            require(self.loss == "dino" or given == none, name, given, f'left out with loss "{self.loss}": it is DINO\'s')
        if self.local_views:
            side = 0 if self.dataset == SPEECH else pipelines_of(self.augmentation).local.size
            of_view = 12.0 * side * side or 4.0 * LOCAL_FRAMES * (self.bands or 40)
            held = of_view * self.batch * self.local_views
            memory("local_views", self.local_views, held, f"{self.local_views} views of {self.batch} pictures")
        frozen = self.freeze_prototypes == 0.0 or self.prototypes is not None
        require(frozen, "freeze_prototypes", self.freeze_prototypes, "0 without prototypes")
        warm = self.teacher_start is None or self.teacher_warm_up > 0.0
        require(warm, "teacher_start", self.teacher_start, "left out without teacher_warm_up")
        rule = self.head_every == 1 or self.head in FROM_CORRELATION
        require(rule, "head_every", self.head_every, f'1 with head "{self.head}", which no correlation sets')

    def _check_batch(self) -> None:
        """Of two pictures each standardised output is +-1, whatever it was: no loss of such outputs has a gradient."""
        batch_norm = self.loss == "similarity" and self.normalisation == "batch"
        if batch_norm or self.loss == "barlow-twins" or self.decorrelation > 0.0 or self.projector_norm == "batch":
            why = "3 pictures at least, where outputs are standardised over the batch: of two all are +-1"
            require(self.batch > 2, "batch", self.batch, why)

    @property
    def encoder_words(self) -> str:
        """The encoder's name, and of "patch" what was given for it."""
        parts = [f"{self.hidden} hidden units an output"] if self.hidden > 1 else []
        parts += [f"{self.readout} readout"] if self.readout else []
        parts += [f"{self.neurons} outputs"] if self.neurons else []
        parts += [f"patches of {self.patch_side} x {self.patch_side}"] if self.patch_side else []
        parts = [self.activation, *parts] if self.activation else parts
        return f"{self.encoder} ({', '.join(parts)})" if parts else self.encoder

    def total_steps(self, pictures: int) -> int:
        """Steps of the whole run on so many pictures; what is left of an epoch that fills no batch is left out."""
        return self.steps if self.steps is not None else self.epochs * self.epoch_steps(pictures)

    def epoch_steps(self, pictures: int) -> int:
        """Steps of an epoch of so many pictures; SettingError where they are fewer than a batch."""
        if pictures < self.batch:
            raise SettingError("batch", self.batch, f"an integer <= {pictures}, the number of training pictures")
        return pictures // self.batch

    def changed(self) -> dict:
        """The settings that differ from the defaults, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def plain(self) -> dict:
        """All settings as JSON can hold them; from `side` on only those that differ from the defaults."""
        names = [field.name for field in fields(self)]
        kept = {*names[: names.index("side")], *self.changed()}
        held = {name: getattr(self, name) for name in names if name in kept}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in held.items()} | (
            {} if isinstance(self.augmentation, str) else {"augmentation": self.augmentation.plain()}
        )


def has_target(loss: str) -> bool:
    """Whether a loss draws the online outputs, behind a head, towards a target's: similarity, and losses registered so."""
    return loss == "similarity" or bool(getattr(OWN_LOSSES.get(loss), "towards", False))


# What the recipes that come with dynlab set, by name; everything else stays at its default and every option can still be
# given. They lie in `dynlab.images.recipes`, with their sources.
RECIPES = RecipeSettings()


def recipe_of(given: str | Path) -> Recipe:
    """The recipe of that name, or in that TOML file; SettingError of one line for a name that there is not, and for a file
    whose settings are unknown or not allowed."""
    if not is_file(given):
        return KNOWN_RECIPES[choice("recipe", given, KNOWN_RECIPES)]
    found = read_recipe(expanded(given))
    names = [f.name for f in fields(Pretraining)]
    for name in found.settings:
        if name not in names:
            why = f"without the setting {name!r}, which pretraining has not{nearest(name, names)}"
            raise SettingError("recipe", str(given), why)
    try:
        _with_only(dict(found.settings), found.settings)
    except SettingError as error:
        raise SettingError("recipe", str(given), f"a recipe that can be run: {error}") from None
    return found


def pretraining(recipe: str | Path | None = None, **given: Any) -> Pretraining:
    """The settings of a recipe, a name or a TOML file, with some given otherwise; SettingError for one that there is not.

    With dataset "speech" the encoder is "tdnn" and the augmentation "speech", unless given.
    With another loss than "similarity" head, stop-gradient and target take the only values that it allows, unless given.
    """
    base = {} if recipe is None else dict(recipe_of(recipe).settings)
    return _with_only({**base, **given}, given)


def _with_only(settings: dict[str, Any], given: Mapping[str, Any]) -> Pretraining:
    if settings.get("dataset") == SPEECH:
        settings = {"encoder": "tdnn", "augmentation": "speech"} | settings
    loss = settings.get("loss", "similarity")
    if isinstance(loss, str) and not has_target(loss):
        dino = loss == "dino"
        only = {
            "head": "none",
            "stop_gradient": "target" if dino else "none",
            "target": "average" if dino else "same",
        }
        settings |= {name: value for name, value in only.items() if name not in given}
    return Pretraining(**settings)
