"""A web server for the demo on one's own machine: Django's own threaded one, quiet and ended with its process.

It is not for production, where a server such as gunicorn runs ``shop_demo.wsgi``.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

HOST = "127.0.0.1"


class PortBusy(Exception):
    """Something else listens on the port."""


class _QuietHandler(WSGIRequestHandler):
    """Logs no requests: the path of an audit record holds a token. Errors are logged by Django itself."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(port: int) -> Iterator[int]:
    """Answer requests for this Django project, static files too, until the end of the block; gives the port.

    Port 0 is one that is free. Raises PortBusy.
    """
    if port and _is_answered(port):
        raise PortBusy
    try:
        server = ThreadedWSGIServer((HOST, port), _QuietHandler)
    except OSError as problem:
        if problem.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortBusy from None
        raise
    server.set_app(StaticFilesHandler(WSGIHandler()))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _is_answered(port: int) -> bool:
    """Whether a browser that goes to localhost would meet somebody else, on IPv6 say."""
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True
