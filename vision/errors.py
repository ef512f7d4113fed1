"""Every way in which an image, a bundle or an engine can be refused.

    SightlineError
    ├── ImageError               what a client sent cannot be classified
    │   ├── EmptyImage           empty               no bytes at all
    │   ├── NotAnImage           not_an_image        the bytes begin like no known image format
    │   ├── UnsupportedFormat    unsupported_format  a known format that is not decoded here
    │   ├── TooManyBytes         too_many_bytes      over DecodeLimits.max_bytes
    │   ├── TooManyPixels        too_many_pixels     over DecodeLimits.max_pixels or max_side_px
    │   ├── TruncatedImage       truncated           data of its pixels is missing
    │   └── CorruptImage         corrupt             the file cannot be decoded
    ├── BundleError              a bundle that must not be served; `file` names the file at fault
    │   ├── BundleNotFound       bundle_not_found    no such model or version
    │   ├── ManifestInvalid      manifest_invalid    manifest.json is not a manifest of a known version
    │   ├── UnexpectedFile       unexpected_file     a file that the manifest does not list
    │   ├── MissingFile          missing_file        a listed file is not there
    │   ├── NotARegularFile      not_a_regular_file  a link, a device, a pipe
    │   ├── SizeMismatch         size_mismatch       a listed file has another size
    │   ├── HashMismatch         hash_mismatch       a listed file has other bytes
    │   ├── TensorMismatch       tensor_mismatch     the weights do not fit the architecture
    │   └── GoldenMismatch       golden_mismatch     the golden samples are not reproduced
    └── EngineUnavailable        engine_unavailable  the engine asked for cannot run this bundle here

`code` is stable: it is the label of a metric and the `code` of a problem document. A caller writes:

    try:
        image = decode(data, limits)
    except ImageError as error:
        log(error.code, str(error))
"""

from typing import ClassVar


class SightlineError(Exception):
    """The root of all errors that Sightline raises on purpose."""

    code: ClassVar[str] = "error"


class ImageError(SightlineError):
    """What a client sent cannot be classified. The message says what was found and what is accepted."""


class EmptyImage(ImageError):
    """No bytes at all."""

    code = "empty"


class NotAnImage(ImageError):
    """The bytes begin like no known image format."""

    code = "not_an_image"


class UnsupportedFormat(ImageError):
    """A known format that is not decoded here."""

    code = "unsupported_format"


class TooManyBytes(ImageError):
    """The encoded image is over the byte limit."""

    code = "too_many_bytes"


class TooManyPixels(ImageError):
    """The image's header declares more pixels, or a longer side, than the limits allow."""

    code = "too_many_pixels"


class TruncatedImage(ImageError):
    """Data of the image's pixels is missing."""

    code = "truncated"


class CorruptImage(ImageError):
    """The file cannot be decoded, although its end is there."""

    code = "corrupt"


class BundleError(SightlineError):
    """A bundle that must not be served.

    Attributes:
        file: the file or folder at fault, relative to the bundle if it is inside it.
    """

    code = "bundle_error"

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")
        self.file = file
        self._message = message

    def __reduce__(self) -> tuple[type["BundleError"], tuple[str, str]]:
        """Lets the error be sent between Ray's processes."""
        return type(self), (self.file, self._message)


class BundleNotFound(BundleError):
    """There is no such model, or no such version of it."""

    code = "bundle_not_found"


class ManifestInvalid(BundleError):
    """manifest.json is not a manifest, or its format version is not known."""

    code = "manifest_invalid"


class UnexpectedFile(BundleError):
    """The bundle holds a file that its manifest does not list."""

    code = "unexpected_file"


class MissingFile(BundleError):
    """A file that the manifest lists is not there."""

    code = "missing_file"


class NotARegularFile(BundleError):
    """A link, a device, a pipe or a socket lies where a plain file or folder must be."""

    code = "not_a_regular_file"


class SizeMismatch(BundleError):
    """A listed file has another size than the manifest says."""

    code = "size_mismatch"


class HashMismatch(BundleError):
    """A listed file has other bytes than the manifest says."""

    code = "hash_mismatch"


class TensorMismatch(BundleError):
    """The weights' names, shapes or values do not fit the architecture and the categories."""

    code = "tensor_mismatch"


class GoldenMismatch(BundleError):
    """The golden samples are not reproduced within the tolerance that the bundle states."""

    code = "golden_mismatch"


class EngineUnavailable(SightlineError):
    """The engine that was asked for cannot run this bundle on this machine."""

    code = "engine_unavailable"
