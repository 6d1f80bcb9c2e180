"""The page on which the theory is moved by hand: what it shows (without bokeh), how it is drawn and served."""
