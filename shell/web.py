"""The dashboard in a browser: pages of textual-serve, each with a dashboard process of its own.

Must never listen anywhere but on loopback, for nobody is asked for a password; must never answer a
page of another origin, for any page that a browser shows could otherwise press keys here; and must
never leave a dashboard process behind. textual-serve need not be installed, so it is imported late;
this module, too, only when it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shell.exits import ExitCode, Failed, Refused

if TYPE_CHECKING:
    from aiohttp import web

    from shell.session import Session

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
_DRIVER = "textual.drivers.web_driver:WebDriver"
# A dashboard that was told to quit has this long before it is killed.
_END_LIMIT_S = 3.0
_GIVEN_UP_S = 2 * _END_LIMIT_S
# textual-serve's page asks a font server on the internet; the same font comes with it as a file.
_FOREIGN_FONT = re.compile(r"<link[^>]*fonts\.googleapis\.com[^>]*>", re.DOTALL)
_OWN_FONT = (
    '<style>@font-face {{ font-family: "Roboto Mono"; font-weight: 100 700; '
    'src: url("{static}fonts/RobotoMono-VariableFont_wght.ttf"); }}</style>'
)
# Keys go to the dashboard at once, not only after a click; but before the page's first byte the
# websocket is not open, and the terminal says there that it has the focus.
_FOCUS = """<script>
  new MutationObserver((_, observer) => {
    if (!document.body || !document.body.classList.contains("-first-byte")) return;
    observer.disconnect();
    document.querySelector(".xterm-helper-textarea").focus();
  }).observe(document, { attributes: true, childList: true, subtree: true });
</script>"""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws://{host}; "
    "frame-ancestors 'none'"
)


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


def dashboard_command(session: Session) -> str:
    """Return the shell words that show the session's cluster, with the same rights.

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
    return f"exec {shlex.join([*words, 'dash'])}"


async def serve(session: Session, *, host: str, port: int) -> ExitCode:
    """Serve the dashboard until Ctrl-C or SIGTERM; `port` 0 takes a free one.

    Raises Refused for a host that others can reach, Failed when the port is taken or textual-serve
    is missing, UsageProblem when no cluster is named.
    """
    if not is_loopback(host):
        raise Refused(
            f"{host} can be reached by others, and the page asks nobody for a password.",
            hint=f"Keep to {DEFAULT_HOST}; from another machine go through SSH: "
            f"ssh -L {port or DEFAULT_PORT}:127.0.0.1:{port or DEFAULT_PORT} THIS-HOST",
        )
    address = session.bootstrap()
    try:
        server_class = _server_class()
    except ImportError as error:
        raise Failed(
            f"The dashboard in a browser needs textual-serve, which is not installed ({error}).",
            hint="Install it beside logctl: "
            f"{shlex.quote(sys.executable)} -m pip install 'textual-serve>=1.1.3'",
        ) from None
    listener = _listen(host, port)
    context = session.context()
    server = server_class(
        dashboard_command(session),
        host=host,
        port=listener.getsockname()[1],
        title=f"logctl {context.name if context is not None else ', '.join(address)}",
    )
    return await _until_stopped(session, server, listener)


async def _until_stopped(session: Session, server: Any, listener: socket.socket) -> ExitCode:
    from aiohttp import web

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    # textual-serve prints what a dashboard said last; that is talk.
    with contextlib.redirect_stdout(sys.stderr):
        runner = web.AppRunner(
            await server._make_app(), access_log=None, shutdown_timeout=_GIVEN_UP_S
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


def _refusal(request: web.BaseRequest) -> str | None:
    """Return why a request is none of ours, or None.

    A name of somewhere else in Host is DNS rebinding; another Origin is a page of somebody else
    that opens our websocket, which browsers do not forbid.
    """
    try:
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            return f"The dashboard answers to localhost only, not to {request.host!r}."
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return f"The dashboard is not for pages of {origin!r}."
    except ValueError:
        return "The request names no host that can be read."
    return None


def _server_class() -> type[Any]:  # noqa: C901 - two classes, which need the library to exist
    """Return textual-serve's server with our rules; raises ImportError when it is missing."""
    from aiohttp import WSCloseCode, web
    from textual_serve.app_service import AppService
    from textual_serve.server import Server

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]  # noqa: N806 - a type

    class Dashboard(AppService):
        """The process behind one page."""

        async def end(self) -> None:
            """Ask the process to quit, kill it when it does not, and wait until it is gone."""
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(self.stop(), _END_LIMIT_S)
            process = self._process
            if process is None:
                return
            try:
                await asyncio.wait_for(process.wait(), _END_LIMIT_S / 2)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    class DashboardServer(Server):
        """Loopback alone, no internet, and no process without a page."""

        async def _make_app(self) -> web.Application:
            self.pages: set[web.WebSocketResponse] = set()
            app = await super()._make_app()
            app.middlewares.append(self._guarded)
            return app

        @staticmethod
        @web.middleware
        async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = _refusal(request)
            if refusal is not None:
                raise web.HTTPForbidden(text=refusal)
            return await handler(request)

        async def on_startup(self, app: web.Application) -> None:
            """Say nothing: the address is told by the command."""

        async def on_shutdown(self, app: web.Application) -> None:
            """Close the pages; their handlers then end the processes."""
            for page in list(self.pages):
                await page.close(code=WSCloseCode.GOING_AWAY, message=b"logctl has ended")

        async def handle_index(self, request: web.Request) -> Any:
            """Return the page, for whatever port the browser came by, such as a tunnel's."""
            # Nothing is awaited between this and its use.
            self.public_url = f"http://{request.host}"
            page: Any = await super().handle_index(request)
            font = _OWN_FONT.format(static=f"{self.public_url}/static/")
            page.text = _FOREIGN_FONT.sub(lambda _: font + _FOCUS, page.text or "")
            page.headers["Content-Security-Policy"] = _POLICY.format(host=request.host)
            page.headers["Cache-Control"] = "no-store"
            return page

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            """Run a dashboard for as long as the page is there."""
            page = web.WebSocketResponse(heartbeat=15)
            await page.prepare(request)

            async def close() -> None:
                await page.close()

            dashboard = Dashboard(
                self.command,
                write_bytes=page.send_bytes,
                write_str=page.send_str,
                close=close,
                download_manager=self.download_manager,
            )
            self.pages.add(page)
            try:
                await dashboard.start(_cells(request, "width", 80), _cells(request, "height", 24))
                await self._process_messages(page, dashboard)
            except (ValueError, TypeError, LookupError, AssertionError, ConnectionError):
                await page.close(code=WSCloseCode.PROTOCOL_ERROR)
            finally:
                self.pages.discard(page)
                await dashboard.end()
            return page

    return DashboardServer


def _cells(request: web.Request, name: str, default: int) -> int:
    value = request.query.get(name, "")
    return min(int(value), 1_000) if value.isascii() and value.isdigit() else default
