"""Made-up speakers for the tests of runs on speech."""

import pytest

from dynlab.sounds import recordings
from tests.sounds.small_speech import write_speech


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A folder of recordings, whose cache is of its own."""
    place = tmp_path_factory.mktemp("speech")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "cache_root", lambda: place / "cache")
        yield write_speech(place / "data")
