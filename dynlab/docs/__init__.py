"""The documentation: pages (conf.py, *.rst), the tutorial, and `python -m dynlab.docs`, which builds them."""
