"""Every switch of `dynlab.settings.training`: gradients, flows, heads, the commands that turn them."""
