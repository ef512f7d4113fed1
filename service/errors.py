"""Every way in which a request can fail, and the table from error to status.

The image's own errors come from `vision.errors`; these are the request's:

    RequestError
    ├── MalformedRequest     malformed_request      400  the body is not what its type says
    ├── MissingImage         missing_image          400  there is no image in it
    ├── NotFound             not_found              404  e.g. a model that is not served here
    ├── BodyTimeout          body_timeout           408  the body did not arrive in time
    ├── BodyTooLarge         body_too_large         413  over max_body_bytes; the rest is not read
    ├── TooManyImages        too_many_images        413  over max_images_per_request
    ├── UnsupportedEncoding  unsupported_encoding   415  a compressed body
    ├── ExplanationsOff      explanations_off       403  this server gives no explanations
    ├── InvalidParameter     invalid_parameter      422  e.g. top_k
    ├── MethodUnavailable    method_unavailable     422  this network cannot be explained in this way
    ├── InferenceFailed      inference_failed       500  the engine failed on this image, alone
    ├── ExplanationFailed    explanation_failed     500  the process that explains has ended
    ├── ExplanationBusy      explanation_busy       503  the replica is answering another explanation
    ├── Overloaded           overloaded             503  at max_ongoing_requests or max_held_bytes
    ├── NotReady             not_ready              503  the golden samples have not passed yet
    └── DeadlineExceeded     deadline_exceeded      504  not answered within request_timeout_s
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vision.errors import SightlineError


class RequestError(SightlineError):
    """A request that cannot be answered. The message says what was found and what is accepted."""


class MalformedRequest(RequestError):
    """The body is not what its type says."""

    code = "malformed_request"


class MissingImage(RequestError):
    """There is no image in the request."""

    code = "missing_image"


class NotFound(RequestError):
    """There is nothing of this name or number."""

    code = "not_found"


class BodyTimeout(RequestError):
    """The body did not arrive in time."""

    code = "body_timeout"


class BodyTooLarge(RequestError):
    """The body is over the limit. The part over it was not read."""

    code = "body_too_large"


class TooManyImages(RequestError):
    """More images than one request may hold."""

    code = "too_many_images"


class UnsupportedEncoding(RequestError):
    """A compressed body."""

    code = "unsupported_encoding"


class ExplanationsOff(RequestError):
    """This server gives no explanations."""

    code = "explanations_off"


class InvalidParameter(RequestError):
    """A parameter is unknown or out of range."""

    code = "invalid_parameter"


class MethodUnavailable(RequestError):
    """The network cannot be explained in this way."""

    code = "method_unavailable"


class InferenceFailed(RequestError):
    """The engine failed on this image when it was tried alone."""

    code = "inference_failed"


class ExplanationFailed(RequestError):
    """The process that explains has ended, or could not be started."""

    code = "explanation_failed"


class ExplanationBusy(RequestError):
    """The replica is answering another explanation."""

    code = "explanation_busy"


class Overloaded(RequestError):
    """The replica is at its request or byte limit."""

    code = "overloaded"


class NotReady(RequestError):
    """The replica has not proved its bundle yet, or a batch hangs."""

    code = "not_ready"


class DeadlineExceeded(RequestError):
    """The answer was not there in time."""

    code = "deadline_exceeded"


class Refused(SightlineError):
    """The process that explains has refused an image or a question.

    Args:
        code: of the error that it raised, a key of PROBLEMS.
        detail: its message.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]  # of the error on the other side


@dataclass(frozen=True)
class ProblemKind:
    """One row of the table.

    Attributes:
        status: HTTP status.
        title: the same for every problem of this kind.
        remedy: what the client can do.
        retry_after_s: sent as Retry-After if trying again helps.
    """

    status: int
    title: str
    remedy: str
    retry_after_s: int | None = None


_SEND_AN_IMAGE = (
    "Send the bytes of a JPEG, PNG, WebP, GIF or BMP as the body, as multipart/form-data, or base64 in JSON."
)
_SMALLER = "Scale the image down or compress it more; the limits are in this server's settings."

PROBLEMS: Mapping[str, ProblemKind] = {
    "empty": ProblemKind(400, "The image is empty", _SEND_AN_IMAGE),
    "not_an_image": ProblemKind(415, "The bytes are not an image", _SEND_AN_IMAGE),
    "unsupported_format": ProblemKind(
        415, "The image format is not supported", "Convert the image to JPEG, PNG, WebP, GIF or BMP."
    ),
    "too_many_bytes": ProblemKind(413, "The image has too many bytes", _SMALLER),
    "too_many_pixels": ProblemKind(413, "The image has too many pixels", _SMALLER),
    "truncated": ProblemKind(422, "The image is cut off", "Send the whole file; check that the upload was complete."),
    "corrupt": ProblemKind(422, "The image is damaged", "Open the image in a viewer and save it again."),
    "malformed_request": ProblemKind(400, "The request is malformed", _SEND_AN_IMAGE),
    "missing_image": ProblemKind(400, "The request holds no image", _SEND_AN_IMAGE),
    "body_timeout": ProblemKind(
        408, "The body did not arrive in time", "Send the body without pauses, or a smaller one."
    ),
    "body_too_large": ProblemKind(413, "The request body is too large", "Send fewer or smaller images in one request."),
    "too_many_images": ProblemKind(413, "The request holds too many images", "Split it into several requests."),
    "unsupported_encoding": ProblemKind(
        415, "The body is compressed", "Send the body without Content-Encoding; images are compressed already."
    ),
    "invalid_parameter": ProblemKind(422, "A parameter cannot be used", "Correct the parameter that the detail names."),
    "not_found": ProblemKind(404, "There is nothing at this path", "POST images to /classify; /docs lists every path."),
    "method_not_allowed": ProblemKind(
        405, "This path does not take this method", "Use a method that the Allow header lists."
    ),
    "explanations_off": ProblemKind(
        403, "This server gives no explanations", "Ask whoever runs this server to set SIGHTLINE_EXPLAIN=on."
    ),
    "method_unavailable": ProblemKind(
        422, "This network cannot be explained in this way", "Use the method or layer that the detail names."
    ),
    "inference_failed": ProblemKind(
        500, "The model failed on this image", "Report the request_id to whoever runs this server."
    ),
    "explanation_failed": ProblemKind(
        500,
        "The explanation failed",
        "Try again; if it fails again, report the request_id to whoever runs this server.",
    ),
    "explanation_busy": ProblemKind(
        503,
        "The server is busy with another explanation",
        "Try again after the seconds in Retry-After.",
        retry_after_s=1,
    ),
    "internal_error": ProblemKind(
        500, "Something went wrong in the server", "Report the request_id to whoever runs this server."
    ),
    "too_many_connections": ProblemKind(  # raised by the edge only (deploy/edge/haproxy.cfg)
        429, "Your address has too many connections", "Use fewer connections, and keep them alive.", retry_after_s=1
    ),
    "overloaded": ProblemKind(
        503, "The server is overloaded", "Try again after the seconds in Retry-After.", retry_after_s=1
    ),
    "not_ready": ProblemKind(
        503, "The server is not ready", "Try again after the seconds in Retry-After.", retry_after_s=1
    ),
    "deadline_exceeded": ProblemKind(504, "The answer took too long", "Try again; send fewer images in one request."),
}
