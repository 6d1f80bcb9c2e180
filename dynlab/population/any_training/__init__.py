"""The same under every switch of the training."""
