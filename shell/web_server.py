"""textual-serve's server with rules of our own: loopback alone, no internet, nothing left behind.

Must never answer a page of another origin, for any page that a browser shows could otherwise press
keys here, and must never leave a dashboard's process without its page. Imports textual-serve, which
need not be installed: only `shell.web` imports this, late.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from shell.web import is_loopback

# A dashboard that was told to quit has this long before it is killed.
END_LIMIT_S = 3.0
# Of what a dashboard said that never drew, the page shows so much.
_SAID_CHARS_MAX = 4_000
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
# textual-serve opens a window for a file, which browsers block as a popup when it does not follow
# a key at once; a link that saves is never blocked and leaves no empty window behind.
_SAVE = """<script>
  const openWindow = window.open.bind(window);
  window.open = (url, ...rest) => {
    if (!String(url).startsWith(`${location.origin}/download/`)) return openWindow(url, ...rest);
    const link = document.createElement("a");
    link.href = url;
    link.download = "";
    link.click();
    return null;
  };
</script>"""
# The dashboard cannot know whether a browser lets its page copy, and has said "copied"; a page that
# may not shows the text, so that it is never lost in silence.
_COPY = """<script>
  const write = navigator.clipboard.writeText.bind(navigator.clipboard);
  navigator.clipboard.writeText = (text) => write(text).catch(() => {
    const dialog = document.createElement("dialog");
    const field = document.createElement("textarea");
    dialog.id = "not-copied";
    dialog.textContent = "The browser kept this page from copying. Copy it here, then press Esc.";
    Object.assign(field, { value: text, readOnly: true, rows: 8, cols: 80 });
    field.style.display = "block";
    dialog.append(field);
    dialog.addEventListener("close", () => {
      dialog.remove();
      document.querySelector(".xterm-helper-textarea").focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    field.select();
  });
</script>"""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws://{host}; "
    "frame-ancestors 'none'"
)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Heard:
    """A stream that keeps what was read from it."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.said = b""

    async def read(self, size_bytes: int = -1) -> bytes:
        data = await self._stream.read(size_bytes)
        self.said += data
        return data


class Dashboard(AppService):
    """The process behind one page.

    One that ends before it drew anything, as for a secret that cannot be read, says why on the
    page, which would stay blank otherwise.
    """

    _heard: _Heard | None = None
    _drew = False

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        process: Process = await super()._open_app_process(width, height)
        assert process.stderr is not None
        self._heard = _Heard(process.stderr)
        process.stderr = self._heard  # type: ignore[assignment]
        return process

    async def on_data(self, payload: bytes) -> None:
        """Pass on what is drawn."""
        self._drew = True
        await super().on_data(payload)

    async def run(self) -> None:
        """Run the dashboard; when it could not start, show what it said.

        One that was killed leaves a picture that looks live: the page is closed and says so.
        """
        await super().run()
        if self._drew:
            with contextlib.suppress(ConnectionError):
                await self.remote_close()
            return
        if self._heard is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S / 2):
                await self._heard.read()
        said = self._heard.said.decode(errors="replace").strip()[-_SAID_CHARS_MAX:]
        lines = ["The dashboard did not start.", *said.splitlines(), "", "Reload to try again."]
        shown = [_plain(line) for line in lines]
        with contextlib.suppress(ConnectionError):
            await self.remote_write_bytes("\r\n".join(shown).encode())

    async def end(self) -> None:
        """Ask the process to quit, kill it when it does not, and wait until it is gone."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(END_LIMIT_S):
                await self.stop()
        process = self._process
        if process is None:
            return
        try:
            async with asyncio.timeout(END_LIMIT_S / 2):
                await process.wait()
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
    async def _guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
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
        page.text = _FOREIGN_FONT.sub(lambda _: font + _FOCUS + _SAVE + _COPY, page.text or "")
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


def _plain(line: str) -> str:
    """A line without what a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in line)


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


def _cells(request: web.Request, name: str, default: int) -> int:
    value = request.query.get(name, "")
    return min(int(value), 1_000) if value.isascii() and value.isdigit() else default
