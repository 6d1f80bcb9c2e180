"""The small map, computed once."""

import pytest

from tests.maps.cases import finished


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """(folder, result files) of the small map."""
    folder = tmp_path_factory.mktemp("phase") / "out"
    return folder, finished(folder)
