"""Pretraining on speech: the loop of pictures (`dynlab.images.training.train`), shown views of utterances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dynlab.images import layers
from dynlab.images.settings import LOCAL_FRAMES
from dynlab.images.training.train import Trainer
from dynlab.images.verdict import NotFinite
from dynlab.images.worth.knn import knn
from dynlab.sounds.log_mel import log_mel_of_many
from dynlab.sounds.segments import SEGMENT_VIEWS, ViewMaker
from dynlab.sounds.speech_networks import SpeechNetworks, embeddings_of
from dynlab.tools.checks import require


class SpeechTrainer(Trainer):
    """The state of a run on speech and its step; data_set: `dynlab.sounds.speech_set.SpeechSet`."""

    def take(self, data_set: Any) -> None:
        """Keep the utterances, and what makes views of them."""
        require(self.ops is layers, "device", "cuda", 'cpu with dataset "speech"')
        self.count = min(len(data_set), self.settings.limit or len(data_set))
        self.bounds = data_set.bounds[: self.count + 1]
        self.samples, self.tables, self.moments = data_set.samples[: self.bounds[-1]], data_set.tables, data_set.moments
        self.speakers = np.unique(data_set.speakers[: self.count], return_inverse=True)[1]
        views = SEGMENT_VIEWS[str(self.settings.augmentation)]  # a name, of speech
        made_of = (self.samples, self.bounds)
        self.maker = ViewMaker(*made_of, views, self.tables, self.moments)
        self.local_maker = ViewMaker(*made_of, replace(views, frames=LOCAL_FRAMES), self.tables, self.moments)

    def fresh_networks(self) -> SpeechNetworks:
        """Encoder and projector at their start, for views."""
        return SpeechNetworks(self.settings, self.maker.views.frames, len(self.tables.first), self.ops, self.dtype)

    def local_networks(self) -> SpeechNetworks:
        """The same for local views, which are shorter."""
        return SpeechNetworks(self.settings, LOCAL_FRAMES, len(self.tables.first), self.ops, self.dtype)

    def fill_view(self, chosen: Any, epoch: int, view: int, out: Any) -> None:
        """Fill out with a view of each utterance chosen: 0 and 1 are the two of a step, the rest local ones."""
        maker = self.maker if view < 2 else self.local_maker
        frames = (len(chosen), maker.views.frames, len(self.tables.first))
        maker.fill(chosen, self.settings.seed, epoch, view, out.reshape(frames))

    def knn(self) -> float:
        """Accuracy of nearest neighbours at telling speakers, the last fifth of the utterances asked; nan for one speaker.

        Raises `NotFinite`.
        """
        asked = max(self.count // 5, 1)
        if len(np.unique(self.speakers)) < 2 or self.count - asked < 1:
            return float("nan")
        found, bounds = log_mel_of_many(self.samples, self.bounds, self.tables)
        features = (found - self.moments[0]) * (1.0 / self.moments[1]).astype(np.float32)
        rows = embeddings_of(self.settings, self.networks.state(), features, bounds, self.ops)[0]
        NotFinite.check("features", rows)
        bank = self.count - asked
        return knn(rows[:bank], self.speakers[:bank], rows[bank:], self.speakers[bank:]).share
