"""What NumPy's readers of npy and npz raise where a file is damaged."""

from __future__ import annotations

import tokenize

from dynlab.tools.checkpoint import ARCHIVE_ERRORS

# Headers that no writer would write make NumPy's reader of them fail in further ways.
DAMAGED = (*ARCHIVE_ERRORS, OverflowError, SyntaxError, MemoryError, AttributeError, TypeError, tokenize.TokenError)
