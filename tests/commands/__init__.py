"""The commands that lie flat in dynlab, as their user meets them."""
