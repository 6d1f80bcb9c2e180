"""Speech: files, features, views, layers over time, verification, training."""
