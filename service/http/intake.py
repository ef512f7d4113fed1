"""Reads the body of a request in time and finds the images in it, for every path that takes images."""

import asyncio
from collections.abc import Callable

from fastapi import Request

from service.errors import BodyTimeout, InvalidParameter
from service.http.admission import read_body
from service.http.forms import Submission, find_images
from service.settings import Settings

# Forms and JSON of this size take 1 to 50 ms to read; meanwhile other requests go on, so a thread reads them.
_LONG_BODY_BYTES = 2**20


async def read(request: Request, settings: Settings, hold: Callable[[int], None], max_bytes: int) -> bytes:
    """The body of a request that has not been read.

    Args:
        request: its body is read here.
        settings: how long it may take.
        hold: see `service.http.admission.Gate.receiving`.
        max_bytes: largest accepted body.

    Raises:
        RequestError: the body is too late, too large or compressed.
    """
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await read_body(request.stream(), request.headers, max_bytes, hold)
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {settings.body_timeout_s:g} s.") from None


async def receive(request: Request, settings: Settings, hold: Callable[[int], None], max_images: int) -> Submission:
    """The images of a request that has not been read, at most max_images of them.

    Raises:
        InvalidParameter: the query holds a parameter that this path does not know.
        RequestError: as `read`; or the body is malformed, or holds no image or too many.
    """
    known = {"top_k", *(parameter.alias for parameter in request.scope["route"].dependant.query_params)}
    for name in request.query_params:
        if name not in known:
            raise InvalidParameter(
                f"There is no parameter {name[:40]!r}; the query may hold {', '.join(sorted(known))}."
            )
    body = await read(request, settings, hold, settings.max_body_bytes)
    found = find_images(body, request.headers, request.query_params.get("top_k"), max_images)
    if len(body) < _LONG_BODY_BYTES:
        return await found
    return await asyncio.to_thread(asyncio.run, found)
