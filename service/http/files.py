"""Answers that rarely change: with a validator, so that a browser asks again and gets 304 where nothing has changed."""

import hashlib

from fastapi import Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

_ASK_AGAIN = "no-cache"  # keep it, but ask each time whether it is still the same


def unchanged_or(request: Request, body: bytes, media_type: str) -> Response:
    """The body with its ETag, or 304 if the client has it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": _ASK_AGAIN}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


class ValidatedFiles(StaticFiles):
    """Files with ETag and `no-cache`: after an upgrade no old file meets a new one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one file."""

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", _ASK_AGAIN.encode())]
            await send(message)

        await super().__call__(scope, receive, send_with_header)
