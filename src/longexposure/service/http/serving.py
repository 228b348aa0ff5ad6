"""A server: requests in one thread, a few for files and ledger, and the one that computes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from longexposure.enhance.choices import ModelChoice, check_strength
from longexposure.enhance.jobs import settings_of
from longexposure.errors import LongExposureError, OutputError, ResourceError
from longexposure.io.checks import reason_of
from longexposure.io.segments import check_compression
from longexposure.service.hot_folder import Event, HotFolder, Telling
from longexposure.service.http.limits import Serving
from longexposure.service.http.store import Store
from longexposure.service.places import Layout
from longexposure.service.settling import Ended
from longexposure.service.working import Working
from longexposure.system import require

if TYPE_CHECKING:
    from longexposure.service.http.desk import Desk

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")

LAST_S = 5
"""So long answers are waited for that are being sent when the server ends, seconds."""

FIRST_S = 20.0
"""A connection on which no request has begun after so many seconds is closed."""

MORE_CONNECTIONS = 256
"""Beside two for each place; beyond them all are refused."""


def serve(
    serving: Serving,
    model: ModelChoice,
    *,
    tell: Callable[[Event], None],
    stopped: Callable[[], bool],
    listening: Callable[[str], object] = lambda address: None,
) -> Counter[str]:
    """Enhance what comes by HTTP, until it is stopped.

    Each image that was taken is enhanced once, in order of arrival, whatever is killed when; several servers
    with one data folder share the work. The model is loaded once. Nothing is sent but answers.

    Args:
        serving: where, within which limits and how.
        model: what enhances.
        tell: takes what is to be said, from several threads.
        stopped: asked again and again; where it says so, the image at hand is finished and the rest waits.
        listening: told the address as soon as requests are taken.

    Returns:
        How many images there were of each kind of `Event`; how many are "not done" still.

    Raises:
        InputError: the ledger is damaged or none.
        OutputError: the data folder cannot be written, or the address cannot be listened at.
        CheckpointError, ResourceError: the model cannot be loaded, or a package of the extra is missing.
        RecipeError: a setting out of range, or no token where other hosts reach the server.
    """
    require(*PACKAGES, where="serve")
    from longexposure.service.http.desk import Desk
    from longexposure.service.http.measures import Measures

    serving.check()
    check_strength(serving.strength)
    check_compression(serving.compress)
    store = Store(Path(os.path.abspath(serving.data)))  # noqa: PTH100
    layout = Layout(store.originals, store.enhanced)
    layout.check(store.ledger)
    settings = settings_of(
        model,
        serving.noise,
        strength=serving.strength,
        compress=serving.compress,
        bad_pixels=serving.bad_pixels,
        dataset=serving.dataset,
        guard=serving.guard,
    )
    loading = model.ahead()
    folder = HotFolder(
        store.originals,
        store.enhanced,
        ledger=store.ledger,
        noise=serving.noise,
        strength=serving.strength,
        compress=serving.compress,
        bad_pixels=serving.bad_pixels,
        dataset=serving.dataset,
        guard=serving.guard,
        lease_s=serving.lease_s,
    )
    desk = Desk(serving, store, Measures(model.name), working=lambda: working, stopped=stopped)
    telling = Telling(lambda event: tell(desk.told(event)))
    working = Working(
        folder,
        layout,
        settings,
        telling=telling,
        stopped=stopped,
        over=stopped,
        forget=lambda original: None,
        renewed=desk.enter_what_is_kept,
        keep=desk.keep,
        replaces=True,
        called=lambda original: str((store.about(original.stem) or {}).get("name", "")),
    )
    try:
        with contextlib.suppress(Ended), _answering(desk) as (address, check):
            listening(address)
            desk.enter_what_is_kept()
            enhancer = loading()
            desk.model = enhancer.describe()
            working.run(enhancer, check)
    finally:
        with contextlib.suppress(LongExposureError):
            counts = working.ledger.counts()
            telling.counts["not done"] = counts.get("waiting", 0) + counts.get("running", 0)
        working.ledger.close()
    return +telling.counts


@contextlib.contextmanager
def _answering(desk: Desk) -> Iterator[tuple[str, Callable[[], None]]]:
    """While requests are answered: the address, and what raises where they are no more."""
    import uvicorn

    from longexposure.service.http.application import application
    from longexposure.service.http.connections import connections

    serving = desk.serving
    listener = _listener(serving.host, serving.port)
    config = uvicorn.Config(
        application(desk),
        http=connections(FIRST_S),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=2 * serving.queue + MORE_CONNECTIONS,
        timeout_graceful_shutdown=LAST_S,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="longexposure-server", daemon=True)
    thread.start()

    def check() -> None:
        if not thread.is_alive():
            raise ResourceError(
                where="serve",
                expected="a server that answers",
                found="its thread ended",
                advice="see the traceback with `longexposure --debug serve ...`, and report it",
            )

    try:
        port = listener.getsockname()[1]
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        yield f"http://{host}:{port}/", check
    finally:
        server.should_exit = True
        thread.join(LAST_S + 5)
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens (raises OutputError where it cannot)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise OutputError(
            where=f"{host}:{port}",
            expected="an address and a port to listen at",
            found=reason_of(error),
            advice="choose another --host or --port, or end what listens there",
        ) from error
    return listener
