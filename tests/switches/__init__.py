"""Every switch of `dynlab.training`: gradients, flows, heads, the commands that turn them."""
