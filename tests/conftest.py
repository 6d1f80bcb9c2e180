"""Hypothesis profiles: "ci" (the default) draws the same examples every time; "explore" searches further.

Choose with the environment variable HYPOTHESIS_PROFILE.
"""

import os

from hypothesis import HealthCheck, settings

slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=50, suppress_health_check=slow)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True, suppress_health_check=slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
