"""`oa serve`: one serving node."""

from __future__ import annotations

from typing import Annotated

import typer


def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need OA_SERVING_KEY.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8100,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that compute; the cores really free if not given.")
    ] = None,
) -> None:
    """Serve chat from promoted ONNX models, OpenAI-compatible."""
    import logging

    import uvicorn

    from core.objects import ObjectStore
    from oa.embedded import check_port
    from serving.server import create_app
    from serving.settings import check_host, check_onnxruntime, is_loopback, settings_from

    check_onnxruntime()
    settings = settings_from(threads=threads)
    check_host(host, settings.key)
    if is_loopback(host):
        check_port(port)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger(__name__).info(
        "serving %s on http://%s:%d with %d threads", ", ".join(settings.models), host, port, settings.engine.threads
    )
    # The drain: uvicorn takes no new connection after SIGTERM and lets replies under way end.
    uvicorn.run(
        create_app(settings, ObjectStore.from_env()),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
