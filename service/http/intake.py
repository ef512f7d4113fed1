"""Reads the body of a request in time and finds the images in it, for every path that takes images."""

import asyncio
from collections.abc import Callable

from fastapi import Request

from service.errors import BodyTimeout
from service.http.admission import read_body
from service.http.forms import Submission, find_images
from service.settings import Settings


async def receive(request: Request, settings: Settings, hold: Callable[[int], None], max_images: int) -> Submission:
    """The images of a request.

    Args:
        request: its body has not been read.
        settings: limits of the body.
        hold: see `service.http.admission.Gate.receiving`.
        max_images: largest accepted number of images.

    Raises:
        RequestError: the body is too late, too large, malformed, or holds no image or too many.
    """
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            body = await read_body(request.stream(), request.headers, settings.max_body_bytes, hold)
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {settings.body_timeout_s:g} s.") from None
    return await find_images(body, request.headers, request.query_params.get("top_k"), max_images)
