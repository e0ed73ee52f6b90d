"""What does a page say, and what would a browser do beyond showing it?"""

import contextlib
import http.server
import re
import threading
from functools import partial
from html.parser import HTMLParser


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """Serve a folder on this machine; yield the address."""
    handler = partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Page(HTMLParser):
    """Reads a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: set[str] = set()  # names of attributes that hold scripts
        self.addresses: set[str] = set()  # what it loads or links to
        self._texts: list[str] = []
        self.feed(content)
        self.close()

    @property
    def text(self) -> str:
        """What it says, the blanks between words single."""
        return re.sub(r"\s+", " ", " ".join(self._texts))

    @property
    def code(self) -> str:
        """What it says, without blanks: highlighted code is in many pieces."""
        return self.text.replace(" ", "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers |= {name for name, _ in attrs if name.startswith("on")}
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href")}

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
