"""An application that uses Uvicorn's logger, as some do."""

import logging
import os

logger = logging.getLogger("uvicorn.error")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["path"] == "/fork":
        child = os.fork()
        if child == 0:
            logger.warning("said by a child")
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it has ended
    elif scope["path"] == "/hostile":
        text = "\x1b[2J \udcff\n2026-01-01T00:00:00.000Z ERROR forged worker=9"
        logger.info("what came: %s", text)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"said"})
