"""The same model with finite data: generator, minibatch gradient through the batch statistics, optimisers, training."""
