"""The dashboard in a browser: pages of textual-serve, each with a dashboard process of its own.

Must never listen anywhere but on loopback, for nobody is asked for a password. textual-serve need
not be installed, so that what imports it (`shell.web_server`) is imported late.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import shlex
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode, Failed, Refused

if TYPE_CHECKING:
    from shell.session import Session

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
_DRIVER = "textual.drivers.web_driver:WebDriver"


def is_served(environ: Mapping[str, str]) -> bool:
    """Return whether this process is a dashboard that a browser shows, so has no terminal."""
    return environ.get("TEXTUAL_DRIVER") == _DRIVER


def is_loopback(host: str) -> bool:
    """Return whether a name or address, without a port, is this machine for itself alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def dashboard_command(session: Session, start: str = "") -> str:
    """Return the shell words that show the session's cluster, with the same rights.

    `start` is the page to begin with, and what it is about.

    A context is named even when it is only the current one, so that a page that is opened later
    shows the same cluster.
    """
    settings = session.settings
    words = [sys.executable, "-P", "-m", "shell.main"]
    context = session.context()
    if context is not None:
        words.append(f"--context={context.name}")
    if settings.bootstrap:
        words.append(f"--bootstrap={','.join(settings.bootstrap)}")
    if session.read_only():
        words.append("--read-only")
    words.append(f"--timeout={settings.timeout_ms}ms")
    if not settings.color:
        words.append("--no-color")
    if settings.debug:
        words.append("--debug")
    # Without `exec` a shell would stand between us and the process that has to end.
    page, _, about = start.partition(" ")
    words += ["dash", *([f"--page={page}"] if page else []), *(["--", about] if about else [])]
    return f"exec {shlex.join(words)}"


async def serve(session: Session, *, host: str, port: int, start: str = "") -> ExitCode:
    """Serve the dashboard until Ctrl-C or SIGTERM; `port` 0 takes a free one.

    `start` is the page that each begins with, and what it is about.

    Raises Refused for a host that others can reach, Failed when the port is taken or textual-serve
    is missing, UsageProblem when no cluster is named, LogctlError for a secret that cannot be read.
    """
    if not is_loopback(host):
        raise Refused(
            f"{host} can be reached by others, and the page asks nobody for a password.",
            hint=f"Keep to {DEFAULT_HOST}; from another machine go through SSH: "
            f"ssh -L {port or DEFAULT_PORT}:127.0.0.1:{port or DEFAULT_PORT} THIS-HOST",
        )
    address = session.bootstrap()
    session.security()  # what no page could read either is told here and now
    try:
        from shell.web_server import DashboardServer
    except ImportError as error:
        raise Failed(
            f"The dashboard in a browser needs textual-serve, which is not installed ({error}).",
            hint="Install it beside logctl: "
            f"{shlex.quote(sys.executable)} -m pip install 'textual-serve>=1.1.3'",
        ) from None
    listener = _listen(host, port)
    context = session.context()
    server = DashboardServer(
        dashboard_command(session, start),
        host=host,
        port=listener.getsockname()[1],
        title=f"logctl {context.name if context is not None else ', '.join(address)}",
    )
    return await _until_stopped(session, server, listener)


async def _until_stopped(session: Session, server: Any, listener: socket.socket) -> ExitCode:
    from aiohttp import web

    from shell.web_server import END_LIMIT_S

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    # textual-serve prints what a dashboard said last; that is talk.
    with contextlib.redirect_stdout(sys.stderr):
        runner = web.AppRunner(
            await server._make_app(), access_log=None, shutdown_timeout=2 * END_LIMIT_S
        )
        await runner.setup()
        ends = (signal.SIGTERM, signal.SIGHUP)
        for each in ends:
            loop.add_signal_handler(each, stop.set)
        try:
            await web.SockSite(runner, listener).start()
            host = f"[{server.host}]" if ":" in server.host else server.host
            session.output.say(f"The dashboard is at http://{host}:{server.port}/ (Ctrl-C ends it)")
            await stop.wait()
        except asyncio.CancelledError:
            pass  # Ctrl-C is the way to end
        finally:
            for each in ends:
                loop.remove_signal_handler(each)
            await runner.cleanup()
    return ExitCode.DONE


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Failed(
            f"Cannot listen on {host}, port {port}: {reason}.",
            hint="Choose another with --port; 0 takes a free one.",
        ) from None
