"""What runs beside the requests for as long as the process does. Knows no task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pymongo.errors import PyMongoError

from core.errors import OaError

log = logging.getLogger(__name__)


async def repeat(step: Callable[[], Awaitable[object]], seconds: float, what: str) -> None:
    """Take `step` every `seconds` until cancelled; one that fails is noted in the log, and the next one taken.

    Where the driver or one of ours says what is wrong, that is all the log has. What nobody foresaw has its traceback
    there; it must not end the steps after it, since nothing would start them again.
    """
    while True:
        try:
            await step()
        except (PyMongoError, OaError) as error:
            log.warning("%s failed: %s", what, error)
        except Exception:
            log.exception("%s failed", what)
        await asyncio.sleep(seconds)
