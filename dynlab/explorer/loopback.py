"""The server of the page: bokeh's, bound to this machine alone, for pages that it served itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server

from dynlab.explorer.explored import Explored
from dynlab.explorer.live_page import LivePage
from dynlab.tools.checks import SettingError

if TYPE_CHECKING:
    from bokeh.document import Document

HOST = "127.0.0.1"
TAKEN = "a port that is free here"
SCRIPTS = ("bokeh", "bokeh-widgets")  # bokeh's server would send tables, WebGL and MathJax too, more than twice as much


def server(chosen: Explored, port: int = 0) -> Server:
    """A server of the page on the loopback interface, not started; port 0: any that is free. SettingError for a taken one.

    A websocket is opened for pages of this very address alone; each session starts at `chosen`.
    """

    def make(document: Document) -> None:
        LivePage(document, chosen)

    origins = [f"{name}:{port or '*'}" for name in (HOST, "localhost")]
    try:
        made = Server({"/": Application(FunctionHandler(make))}, address=HOST, port=port, num_procs=1,
                      allow_websocket_origin=origins if port else None, check_unused_sessions_milliseconds=5000,
                      unused_session_lifetime_milliseconds=15000)  # fmt: skip
    except OSError as error:
        raise SettingError("port", port, f"{TAKEN} ({error.strerror or error})") from None
    whole = made._tornado.resources
    made._tornado.resources = lambda absolute_url=None: whole(absolute_url).clone(components=list(SCRIPTS))
    if not port:  # known only now
        made._tornado.websocket_origins.clear()
        made._tornado.websocket_origins.update({f"{HOST}:{made.port}", f"localhost:{made.port}"})
    return made


class Explorer:
    """A page that is served in the background: what `dynlab.explore` returns. A notebook shows it inline.

    url: where it is. `stop()` ends it.
    """

    def __init__(self, chosen: Explored, port: int = 0) -> None:
        self.chosen = chosen
        self._ready = threading.Event()
        self._failed: Exception | None = None
        self._stop: Callable[[], Any] = lambda: None
        self._thread = threading.Thread(target=self._run, args=(port,), name="dynlab explore", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed

    def _run(self, port: int) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            made = server(self.chosen, port)
        except Exception as error:  # told in the thread that asked
            self._failed = error
            self._ready.set()
            return
        made.start()
        self.url = f"http://{HOST}:{made.port}/"

        def stop() -> None:
            made.stop()
            made.io_loop.stop()

        self._stop = lambda: made.io_loop.add_callback(stop)
        made.io_loop.add_callback(self._ready.set)
        made.io_loop.start()

    def __repr__(self) -> str:
        return f"Explorer({self.url})"

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.url}" width="100%" height="1150" style="border: 0"></iframe>'

    def stop(self) -> None:
        """End the server; the page stays as it is, and moves no more."""
        self._stop()
        self._thread.join(10)
