"""Every test of this folder finds the examples registered; other folders do not."""

import pytest

from dynlab.settings.activation_records import ACTIVATIONS, BUILT_IN
from tests.settings.registration.examples import register_all


@pytest.fixture(autouse=True, scope="package")
def registered():
    register_all()
    yield
    for name in set(ACTIVATIONS) - set(BUILT_IN):
        del ACTIVATIONS[name]
