"""The memory of a network: for each number of rows a workspace, made when that number is first met.

In training a workspace keeps what the backward pass needs (each node's result). Everything else, the gradients by the
results and, in inference, the results themselves, lives in a pool of buffers: in the first pass of a kind each node takes
one and gives back what is no longer needed, and from then on it uses the same one again.
"""

from __future__ import annotations

from math import prod


class Workspace:
    """The arrays of one number of rows."""

    def __init__(self, ops, dtype):
        self._ops, self.dtype = ops, dtype
        self._kept, self._taken, self._free, self._buffer_of = {}, {}, [], {}
        self._buffers = []
        self._plan = None
        self._current = {}
        self.training = True

    def keep(self, node, name, shape, dtype=None):
        """An array that lasts until the next pass."""
        key = (node, name, tuple(shape))
        if key not in self._kept:
            self._kept[key] = self._ops.empty(shape, dtype or self.dtype)
        return self._kept[key]

    def scratch(self, node, make, *arguments):
        """What make(*arguments) returns, made once."""
        key = (node, "scratch")
        if key not in self._kept:
            self._kept[key] = make(*arguments)
        return self._kept[key]

    def start(self, plan):
        """A pass begins: every buffer is free if it is the first of its kind (`plan` its name)."""
        self._plan = None if plan in self._taken else plan
        self._current = self._taken.get(plan, {})
        if self._plan is not None:
            self._free, self._buffer_of = list(self._buffers), {}

    def finish(self):
        """A pass is complete: the next one of its kind uses the same buffers."""
        if self._plan is not None:
            self._taken[self._plan] = self._current

    def take(self, node, name, shape):
        """A buffer from the pool, the smallest that suffices."""
        if self._plan is None:
            return self._current[node, name]
        size = prod(shape)
        fitting = [buffer for buffer in self._free if buffer.shape[0] >= size]
        if fitting:
            buffer = min(fitting, key=lambda buffer: buffer.shape[0])
            self._free = [other for other in self._free if other is not buffer]
        else:
            buffer = self._ops.empty((size,), self.dtype)
            self._buffers.append(buffer)
        array = buffer[:size].reshape(shape)
        self._current[node, name] = array
        self._buffer_of[id(array)] = buffer
        return array

    def give(self, array):
        """What came from `take` is no longer needed; of other arrays nothing happens."""
        if self._plan is not None and id(array) in self._buffer_of:
            self._free.append(self._buffer_of.pop(id(array)))

    def owns(self, array):
        """Whether the array came from the pool in this pass, and so may be overwritten."""
        return any(array is mine for mine in self._current.values())

    def result(self, node, shape):
        """Where a node writes its result: kept in training, from the pool otherwise."""
        return self.keep(node, "out", shape) if self.training else self.take(node, "out", shape)

    def done(self, array):
        """A result has been used: in training the backward pass still needs it."""
        if not self.training:
            self.give(array)
