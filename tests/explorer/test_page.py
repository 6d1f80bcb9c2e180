"""The page without a browser: a session that is moved by its widgets, the server's doors, and the page that stands alone."""

from __future__ import annotations

import re
import socket
import sys
import time
from http.client import HTTPConnection
from urllib.request import urlopen

import numpy as np
import pytest

import dynlab
from dynlab import __main__, explore
from dynlab.explorer.explored import Explored

bokeh = pytest.importorskip("bokeh", reason="bokeh is not installed (extra explore)")


class Turns:
    """A document whose next turns are taken when `until` asks for them, in this thread."""

    def __new__(cls):
        from bokeh.document import Document

        document = Document()
        document.turns = []
        document.add_next_tick_callback = document.turns.append
        return document


def until(page, what, seconds=120.0):
    """Take turns of the session until something holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "the page does not get there"
        while page.document.turns:
            page.document.turns.pop(0)()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def page():
    from dynlab.explorer.live_page import LivePage

    made = LivePage(Turns(), Explored())
    until(made, lambda: made.shown is not None and made.wanted is None)
    yield made
    made.close()


def settled(page):
    until(page, lambda: page.wanted is None and page.shown is not None and page.shown.chosen == page.controls.chosen())


def test_a_slider_moves_the_lines_and_the_command(page):
    from dynlab.explorer import panels

    page.controls.widgets["weak"].value = 0.6
    settled(page)
    expected = panels.followed(Explored(weak=0.6))
    for name in ("w11", "w22", "E12", "loss"):
        assert np.array_equal(page.time.lines.data[name], expected.lines[name])
    assert page.command.tags == [expected.chosen.command()] and "--weak 0.6 " in page.command.text
    page.controls.widgets["weak"].value = 0.3
    settled(page)


def test_the_cursor_moves_point_field_and_bars(page):
    page.cursor.value = 0.2
    before = dict(page.bars.source.data), np.array(page.portrait.sources["field"].data["x"])
    page.jump.active = 2
    assert page.jump.active is None and page.cursor.value == page.shown.marks["T₂"]
    assert page.bars.source.data["share"] != before[0]["share"]
    assert not np.array_equal(page.portrait.sources["field"].data["x"], before[1], equal_nan=True)
    index = page.shown.nearest(page.cursor.value)
    at = page.portrait.sources["now"].data
    assert [at["x"][0], at["y"][0]] == list(page.shown.run.answers[index, page.shown.borrower])
    assert page.time.cursor.data["x"] == [page.cursor.value] * 2


def test_what_does_not_go_together_is_said_and_nothing_moves(page):
    shown = page.shown
    page.controls.widgets["hidden"].value = 3
    assert "Not possible" in page.told.text and "degree 1" in page.told.text and page.shown is shown
    page.controls.widgets["hidden"].value = 1
    settled(page)


def test_strips_fill_with_and_without_the_head(page):
    from dynlab.explorer import panels

    page.released()
    until(
        page,
        lambda: all(strip.heading.text.endswith("</h3>") and "%" in strip.heading.text for strip in page.strips.values()),
    )
    assert "both features" in page.strips[True].heading.text.split(",")[0]
    assert "only the strong" in page.strips[False].heading.text.split(",")[0]
    for strip in page.strips.values():
        cells = [place for source in strip.sources for place in zip(source.data["x"], source.data["y"], strict=True)]
        assert len(cells) == len(set(cells)) == panels.STARTS, "a cell of one outcome for each start"
    outcomes = np.concatenate(list(panels.outcome_pieces(Explored())))
    assert [len(source.data["x"]) for source in page.strips[True].sources] == np.bincount(outcomes, minlength=6).tolist()
    first = page.strips[True].sources[outcomes[0]].data
    assert (first["x"][0], first["y"][0]) == (0.5, 7.5), "the framed one"


def test_downloads_are_the_bytes_of_the_command(page):
    import base64

    from dynlab.explorer import panels

    page.save("trajectory.csv", lambda shown: panels.table_text(shown).encode())
    until(page, lambda: page.download.tags[:1] == ["trajectory.csv"])
    assert base64.b64decode(page.download.tags[1]).decode() == panels.table_text(page.shown)


def websocket_status(port, origin):
    """What a request for the websocket is answered that comes from a page of this origin."""
    asked = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Origin": origin,
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "bokeh, x"}  # fmt: skip
    asked.request("GET", "/ws", headers=headers)
    status = asked.getresponse().status
    asked.close()
    return status


def test_it_is_for_this_machine_and_for_its_own_pages_alone():
    served = dynlab.explore(dynlab.Model(weak=0.4))
    try:
        port = int(served.url.rsplit(":", 1)[1].strip("/"))
        assert served.url == f"http://127.0.0.1:{port}/" and f'src="{served.url}"' in served._repr_html_()
        with socket.socket() as other:  # another address of this very machine: nobody listens there
            assert other.connect_ex(("127.0.0.2", port)) != 0
        text = urlopen(served.url, timeout=60).read().decode()
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
        assert loaded and all(link.startswith(("/static/", "data:")) for link in loaded), loaded
        scripts = {link.rpartition("/")[2].partition("?")[0] for link in loaded if ".js" in link}
        assert scripts == {"bokeh.min.js", "bokeh-widgets.min.js"}, "what is not used is not sent"
        for origin in ("http://evil.example", f"http://127.0.0.1:{port + 1}", "null"):
            assert websocket_status(port, origin) == 403, origin
        assert websocket_status(port, served.url.strip("/")) != 403
        with pytest.raises(dynlab.SettingError, match="a port that is free here"):
            dynlab.explore(port=port)
    finally:
        served.stop()
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", port)) != 0


def test_the_page_that_stands_alone_needs_nothing(tmp_path, monkeypatch, capsys):
    from dynlab.explorer import panels, static_page

    monkeypatch.setattr(static_page, "WEAK", (0.3,))
    monkeypatch.setattr(static_page, "RATES", (0.0, 0.01))
    monkeypatch.setattr(static_page, "SEEDS", 1)
    monkeypatch.setattr(panels, "STARTS", panels.PIECE)
    assert __main__.main(["explore", "--export", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "MB, opens without a network" in capsys.readouterr().out
    assert not re.search(r"""<(?:script|link)\b[^>]*\s(?:src|href)=["'](?!data:)""", text)
    assert "dynlab run --strong 1.0 --weak 0.3 --activation cubic" in text
    shown = panels.followed(Explored())
    values, bars = static_page.samples(shown)
    assert values.shape == (len(static_page.COLUMNS) + len(bars), static_page.POINTS)
    assert values[0, 0] == 0.0 and values[0, -1] == 1.0 and (np.diff(values[0]) >= 0).all()


def test_without_bokeh_a_line_says_what_to_install(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    assert __main__.main(["explore", "--no-browser"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("dynlab.explore: error: the page is drawn by bokeh") and told.count("\n") == 1
    assert "python -m pip install 'dynlab-ssl[explore]'" in told
    with pytest.raises(ImportError, match="dynlab-ssl\\[explore\\]"):
        dynlab.explore()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--weak x", "--weak x: must be a finite number"),
        ("--port 99999", "--port 99999: must be an integer"),
        ("--head fixed", "--head fixed: must be one of none, off-diagonal"),
        ("--hidden 2", "--activation cubic: must be of degree 1"),
    ],
)
def test_wrong_options_are_a_line(words, told, capsys, monkeypatch):
    monkeypatch.setattr(explore, "serve", lambda settings: pytest.fail("it is served"))
    assert explore.main([*words.split(), "--no-browser"]) == 2
    assert told in capsys.readouterr().err
