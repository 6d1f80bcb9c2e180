"""Every test of this folder finds the examples registered."""

import pytest

from tests.activations.examples import register_all


@pytest.fixture(autouse=True, scope="session")
def registered():
    register_all()
