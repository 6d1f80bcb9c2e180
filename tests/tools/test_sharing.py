"""Work handed to an executor: everything comes back once, no more is handed over than asked, the rest is cancelled."""

from concurrent.futures import Executor, Future

import pytest

from dynlab.tools.sharing import as_they_end


class Held(Executor):
    """Keeps what it is given, and does the last of it whenever the one before was done."""

    def __init__(self):
        self.given, self.most, self.futures = [], 0, []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.futures.append(future)
        self.given.append((future, fn, args))
        self.most = max(self.most, len(self.given))
        return future

    def one(self):
        future, fn, args = self.given.pop()
        try:
            future.set_result(fn(*args))
        except ArithmeticError as error:
            future.set_exception(error)


def calls(count, drawn):
    for number in range(count):
        drawn.append(number)
        yield f"key {number}", pow, (number, 2)


class AtOnce(Held):
    """Does the last of what it holds as soon as it holds three, or is at the end."""

    def submit(self, fn, /, *args, **kwargs):
        future = super().submit(fn, *args, **kwargs)
        if len(self.given) == 3 or args == (6, 2):
            while self.given:
                self.one()
        return future


def test_everything_comes_back_once_by_its_key():
    drawn = []
    assert dict(as_they_end(AtOnce(), calls(7, drawn))) == {f"key {n}": n * n for n in range(7)}
    assert drawn == list(range(7)) and list(as_they_end(AtOnce(), [])) == []


def test_no_more_is_handed_over_than_asked_and_what_was_not_begun_is_cancelled():
    pool, drawn = AtOnce(), []
    coming = as_they_end(pool, calls(7, drawn), ahead=3)
    assert next(coming) == ("key 1", 1) and drawn == [0, 1, 2]
    assert next(coming) == ("key 0", 0) and drawn == [0, 1, 2, 3] and pool.most == 3
    coming.close()
    assert [future.cancelled() for future in pool.futures] == [False, False, False, True]


def test_what_a_call_raises_is_raised_here():
    pool = AtOnce()
    with pytest.raises(ZeroDivisionError):
        list(as_they_end(pool, [("a", pow, (2, 2)), ("b", divmod, (1, 0)), ("c", pow, (3, 2)), ("d", pow, (1, 2))]))
    assert pool.futures[-1].cancelled()
