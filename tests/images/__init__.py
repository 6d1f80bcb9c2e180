"""Pictures, in the rooms of `dynlab.images`; here what several of them share, and the objectives."""
