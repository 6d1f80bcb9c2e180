"""The page with sliders: what it shows, how it is drawn, how it is served. In a browser: `python -m tests.thorough`."""
