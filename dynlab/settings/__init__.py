"""Settings of the model and of training: frozen, checked."""
