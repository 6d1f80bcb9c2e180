"""What `dynlab.explain` is made of: reading run folders, numbers about a run, and the words for them."""
