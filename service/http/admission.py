"""How many requests a replica accepts at a time, and how many bytes of them. Decided before an image is decoded."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers

from service.errors import BodyTooLarge, Overloaded, UnsupportedEncoding


class Gate:
    """Refuses requests beyond what the replica can hold.

    A body that is still arriving counts with its bytes, but not as an ongoing request: clients that send slowly block
    nobody.

    Args:
        max_ongoing_requests: requests that are answered at a time, at least 1.
        max_held_bytes: bytes of all bodies together, both arriving and being answered. Not applied to a request that is
            alone; the limit of one body still is.
    """

    def __init__(self, max_ongoing_requests: int, max_held_bytes: int) -> None:
        self._max_ongoing_requests = max_ongoing_requests
        self._max_held_bytes = max_held_bytes
        self.ongoing = 0
        self.held_bytes = 0

    @contextmanager
    def receiving(self) -> Iterator[Callable[[int], None]]:
        """Yields a function; call it with each chunk's size. The bytes count until the block ends.

        Raises:
            Overloaded: the replica is at its request limit; or, when the function is called, at its byte limit.
        """
        self._check_requests()
        own = 0

        def hold(count: int) -> None:
            nonlocal own
            if self.held_bytes > own and self.held_bytes + count > self._max_held_bytes:
                raise Overloaded(
                    f"This replica holds {self.held_bytes} bytes of bodies; its limit is {self._max_held_bytes}."
                )
            own += count
            self.held_bytes += count

        try:
            yield hold
        finally:
            self.held_bytes -= own

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Counts one ongoing request until the block ends.

        Raises:
            Overloaded: the replica is at its request limit.
        """
        self._check_requests()
        self.ongoing += 1
        try:
            yield
        finally:
            self.ongoing -= 1

    def _check_requests(self) -> None:
        if self.ongoing >= self._max_ongoing_requests:
            raise Overloaded(
                f"This replica is answering {self.ongoing} requests; its limit is {self._max_ongoing_requests}."
            )


async def read_body(
    chunks: AsyncIterator[bytes], headers: Headers, max_bytes: int, hold: Callable[[int], None]
) -> bytes:
    """Reads a body, counting while it streams.

    Args:
        chunks: in the order in which they arrive.
        headers: a Content-Length over the limit is refused before a byte is read.
        max_bytes: largest accepted body.
        hold: called with the size of each chunk before it is kept; may raise.

    Raises:
        UnsupportedEncoding: a Content-Encoding other than identity.
        BodyTooLarge: over max_bytes; the rest is not read.
        Overloaded: raised by `hold`.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedEncoding(
            f"The body is sent with Content-Encoding {encoding[:40]!r}; only identity is accepted."
        )
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise BodyTooLarge(f"The body has {declared[:20]} bytes; at most {max_bytes} are accepted.")
    body = bytearray()
    async for chunk in chunks:
        if len(body) + len(chunk) > max_bytes:
            raise BodyTooLarge(f"The body has more than {max_bytes} bytes; no more are accepted.")
        hold(len(chunk))
        body += chunk
    return bytes(body)
