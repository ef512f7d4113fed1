"""How a replica and its explaining process exchange messages: a length, a JSON header, and the bytes that it announces.

Both ends are ours, on one pipe. A message that is cut off means that the other end has died.
"""

import json
from typing import Any, BinaryIO

_LENGTH_BYTES = 4


def write(stream: BinaryIO, header: dict[str, Any], body: bytes = b"") -> None:
    """Sends one message."""
    text = json.dumps(header | {"body_bytes": len(body)}).encode()
    stream.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text + body)
    stream.flush()


def read(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Waits for one message.

    Raises:
        EOFError: the other end has closed the pipe.
    """
    header = json.loads(_exactly(stream, int.from_bytes(_exactly(stream, _LENGTH_BYTES), "big")))
    return header, _exactly(stream, header["body_bytes"])


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError(f"the pipe was closed after {len(data)} of {count} bytes")
    return data
