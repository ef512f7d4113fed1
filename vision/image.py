"""The only decoder: bytes → upright sRGB uint8 (H, W, 3) and the file's format, within limits.

A file's first bytes decide its format, never a name or a header. Imports no torch. CMYK without a profile becomes RGB
by Pillow's plain formula, as in browsers.
"""

import contextlib
import io
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile

from vision.errors import (
    CorruptImage,
    EmptyImage,
    NotAnImage,
    TooManyBytes,
    TooManyPixels,
    TruncatedImage,
    UnsupportedFormat,
)
from vision.gif import first_frame
from vision.jpeg import Metadata, NotForLibjpeg, check_scans, decode_whole, metadata, unusual_kind
from vision.png import check_rows, colour_chunks, first_picture
from vision.profiles import Conversion, Tagged, conversion_to_srgb, tagged_by_bmp, tagged_by_png

Pixels = npt.NDArray[np.uint8]
Colours = Literal["srgb", "stored"]
"""Whether stored values are converted to sRGB by what the file says of them, or taken as they are."""
_Box = tuple[int, int, int, int]  # left, top, right, bottom

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

_EXIF_ORIENTATION = 0x0112
# https://exiftool.org/TagNames/EXIF.html, Orientation: how the stored image must be turned to stand upright.
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: np.fliplr,
    3: lambda stored: stored[::-1, ::-1],
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
# What Pillow says of bitmaps that exist: with other masks, with a JPEG or PNG inside, in CMYK, of 64 bits.
_UNUSUAL_BMP = re.compile(
    r"Unsupported BMP (bitfields layout|compression(?= \((?:4|5|6|11|12|13)\))|pixel depth(?= \(64\)))"
)
_ROWS = 256  # of an image, converted at a time
# Brands of ISO base media files (https://mp4ra.org/registered-types/brands), the most telling first: a file names
# several, and `mif1` is in most pictures of every kind.
_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"),
    "Canon CR3": (b"crx ",),
    "HEIF": (b"mif1", b"mif2", b"msf1", b"jpeg", b"jpgs"),
    "a QuickTime video": (b"qt  ",),
}
# Formats that are recognised only so that the refusal can name them. (offset, magic) → name.
_REFUSED = {
    (0, b"II*\0"): "TIFF",
    (0, b"MM\0*"): "TIFF",
    (0, b"%PDF"): "PDF",
    (0, b"%!PS"): "EPS",
    (0, b"8BPS"): "PSD",
    (0, b"\0\0\1\0"): "ICO",
    (0, b"\xff\x0a"): "JPEG XL",
    (0, b"\0\0\0\x0cJXL "): "JPEG XL",
    (0, b"\0\0\0\x0cjP  "): "JPEG 2000",
    (0, b"\xff\x4f\xff\x51"): "JPEG 2000",
    (0, b"<svg"): "SVG",
    (0, b"<?xml"): "XML",
}


@dataclass(frozen=True)
class DecodeLimits:
    """The limits of one encoded image. No value switches a limit off.

    The defaults take what phones send: photos of 50 million pixels, and panoramas of 16,382 × 3,900.

    Attributes:
        max_bytes: encoded size, 1 KiB to 256 MiB.
        max_pixels: width × height, 1 to 89,478,485 (Pillow's own guard against decompression bombs).
        max_side_px: the longer side, 1 to 65,535 (the most that a JPEG can declare).
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 65_000_000
    max_side_px: int = 20_000

    def __post_init__(self) -> None:
        for name, low, high in (
            ("max_bytes", 1024, 256 * 2**20),
            ("max_pixels", 1, 89_478_485),
            ("max_side_px", 1, 65_535),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"DecodeLimits.{name} is {value}; it must lie between {low} and {high}.")


class DecodedImage(NamedTuple):
    """What `decode` returns.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, upright.
        format: the file format, one of FORMATS.
        profile: the name of the colour profile that was converted from; empty if there was nothing to convert.
        warning: what the file says of its colours and was ignored, as a sentence; empty if there is nothing.
    """

    pixels: Pixels
    format: str
    profile: str = ""
    warning: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """What `inspect` reports of an array of pixels."""

    shape: tuple[int, ...]
    dtype: str
    minimum: float
    maximum: float
    mode: str
    channels: int
    values: int


@dataclass(frozen=True)
class StoredFacts:
    """What `stored_facts` reports of an encoded image.

    Attributes:
        mode: Pillow's name of the stored pixels, e.g. RGB, L, CMYK, P, RGBA, I;16.
        orientation: the EXIF tag, 1 to 8; 1 (upright) if there is no readable tag.
    """

    mode: str
    orientation: int


def silence_pillow() -> None:
    """Ignores Pillow's warnings in this process: a client's damaged metadata must not fill the log."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def sniff_format(data: bytes) -> str | None:
    """The format of these bytes by their beginning, one of FORMATS; None for anything else."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    # "BM" could also begin a text; the size of the header that follows identifies a bitmap.
    if (
        data[:2] == b"BM"
        and len(data) >= 18
        and int.from_bytes(data[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "BMP"
    return None


def declared_pixels(data: bytes) -> int:
    """Width × height as the header says, without decoding; 0 if that cannot be read.

    To decode them takes up to 16 bytes a pixel, with WebP; with other formats up to 9.
    """
    width = height = 0
    with contextlib.suppress(Exception):  # Pillow's plugins raise many kinds of errors on hostile bytes.
        match sniff_format(data):
            case "JPEG":
                height, width, *_ = simplejpeg.decode_jpeg_header(data)
            case "PNG":
                width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
            case "WEBP":
                width, height = _webp_size(data)
            case "GIF":
                _, width, height = first_frame(data)
            case "BMP":
                with Image.open(io.BytesIO(data), formats=["BMP"]) as image:
                    width, height = image.size
    return width * height


def decode(data: bytes, limits: DecodeLimits, colours: Colours = "srgb") -> DecodedImage:
    """Decodes one image; animations give their first frame.

    EXIF orientation is applied (a malformed tag is ignored), transparency and what a first frame does not cover become
    white, and palette, 1-bit, 16-bit, gray and CMYK images become RGB. No pixel is made up for data that is missing.
    Colours become those of sRGB by the file's profile; a damaged one is ignored, with a warning.

    Args:
        data: an encoded JPEG, PNG, WebP, GIF or BMP.
        limits: checked against the header, before any pixel is allocated.
        colours: `stored` for models that were trained on values without conversion.

    Raises:
        ImageError: one of its seven kinds; see `vision.errors`.
    """
    if not data:
        raise EmptyImage("The image has 0 bytes; send the bytes of a JPEG, PNG, WebP, GIF or BMP.")
    if len(data) > limits.max_bytes:
        raise TooManyBytes(f"The image has {len(data)} bytes; at most {limits.max_bytes} are accepted.")
    file_format = sniff_format(data)
    if file_format is None:
        raise _refusal(data)
    try:
        return _decoded(data, file_format, limits, colours)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(f"The image declares too many pixels; at most {limits.max_pixels} are accepted.") from error
    except (TooManyPixels, TruncatedImage, CorruptImage, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise many kinds of errors on hostile bytes.
        if (unusual := _unusual(data, file_format, str(error))) is not None:
            raise UnsupportedFormat(
                f"The bytes are {unusual}, which is not decoded here; save it as PNG or as another JPEG."
            ) from error
        if _is_cut(data, file_format) or "truncated" in str(error):
            raise TruncatedImage(f"The {file_format} file ends too early; send all of its bytes.") from error
        raise CorruptImage(
            f"The {file_format} file cannot be decoded; open it in a viewer and save it again."
        ) from error


def inspect(image: npt.NDArray[np.generic]) -> ImageFacts:
    """Reports an array's shape, dtype, range, mode, channels and number of values.

    Args:
        image: (H, W) or (H, W, C) with C of 1, 2, 3 or 4, any numeric dtype.

    Raises:
        ValueError: the array has no pixels or is not shaped like an image.
    """
    channels = 1 if image.ndim == 2 else image.shape[-1] if image.ndim == 3 else 0
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    if channels not in modes or image.size == 0:
        raise ValueError(f"An image is (H, W) or (H, W, 1 to 4) and not empty; this array is {image.shape}.")
    return ImageFacts(
        shape=tuple(image.shape),
        dtype=str(image.dtype),
        minimum=float(image.min()),
        maximum=float(image.max()),
        mode=modes[channels],
        channels=channels,
        values=image.size,
    )


def stored_facts(data: bytes) -> StoredFacts:
    """How an image that `decode` accepts is stored. Reads the header only."""
    if sniff_format(data) == "PNG":
        data = first_picture(data).data  # its EXIF may come last
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        exif = metadata(data).exif if image.format == "JPEG" else image.info.get("exif", b"")
        return StoredFacts(image.mode, _orientation(exif))


def as_stored(upright: Pixels, orientation: int) -> Pixels:
    """Turns upright pixels (H, W, C) back to how a file of this EXIF orientation, 1 to 8, holds them."""
    return _turned(upright, {6: 8, 8: 6}.get(orientation, orientation))  # all others are their own inverse


def _decoded(data: bytes, file_format: str, limits: DecodeLimits, colours: Colours) -> DecodedImage:
    """Raises whatever Pillow raises."""
    frame: _Box | None = None
    corner, canvas = (0, 0), None
    tagged, exif = Tagged(), None
    match file_format:
        case "JPEG":
            check_scans(data)
            told = metadata(data)
            tagged, exif = _tagged_by_jpeg(told), told.exif
            if (fast := _jpeg(data, limits, told, tagged if colours == "srgb" else Tagged())) is not None:
                return fast
        case "PNG":
            _check_size((int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")), limits)
            tagged = tagged_by_png(colour_chunks(data))
            data, corner, canvas = first_picture(data)
        case "WEBP":  # Pillow allocates the whole canvas when it opens a WebP, so the header is read here.
            _check_size(_webp_size(data), limits)
            frame = _webp_frame(data)
        case "GIF":
            data = first_frame(data).data
        case "BMP":
            tagged = tagged_by_bmp(data)
    with Image.open(io.BytesIO(data), formats=[file_format]) as image:
        _check_size(image.size, limits)
        if file_format == "GIF" and isinstance(image, ImageFile.ImageFile) and image.tile:
            frame = image.tile[0].extents
        if file_format == "WEBP":
            tagged = Tagged(image.info.get("icc_profile") or None)
        _fit_transparency(image)
        image.load()
        if file_format == "PNG" and _may_lack_rows(image):
            check_rows(data)
        pixels, conversion = _in_srgb(image, tagged if colours == "srgb" else Tagged())
        if canvas is not None and canvas != image.size:
            left, top = corner
            frame = (left, top, left + image.width, top + image.height)
            pixels = np.pad(pixels, ((top, canvas[1] - frame[3]), (left, canvas[0] - frame[2]), (0, 0)))
        if frame is not None:
            pixels = _white_around(pixels, frame)
        orientation = _orientation(image.info.get("exif", b"") if exif is None else exif)
        return DecodedImage(_turned(pixels, orientation), file_format, conversion.profile, conversion.warning)


def _tagged_by_jpeg(told: Metadata) -> Tagged:
    if not told.icc:
        return Tagged()
    return Tagged(told.icc) if told.whole else Tagged(None, "A part of the colour profile is missing; it was ignored.")


def _may_lack_rows(image: Image.Image) -> bool:
    """Whether a PNG may have too little data. Pillow leaves the pixels zero that it does not reach.

    That is so if the last row is all zeros. In an interlaced image any row may be incomplete.
    """
    last = image.crop((0, image.height - 1, image.width, image.height))
    return "interlace" in image.info or last.getbbox(alpha_only=False) is None


def _white_around(pixels: Pixels, frame: _Box) -> Pixels:
    """White where a first frame does not cover the canvas: an eye sees nothing there."""
    left, top, right, bottom = frame
    pixels[:top] = pixels[bottom:] = pixels[:, :left] = pixels[:, right:] = 255
    return pixels


def _webp_frame(data: bytes) -> _Box | None:
    """Where an animation's first frame lies (RFC 9649, section 2.7.1.1); None for a file without animation."""
    if data[12:16] != b"VP8X" or not data[20:21] or not data[20] & 2:
        return None
    position = 12
    for _ in range(16):  # the header, a profile, the background: the first frame is among the first chunks
        if data[position : position + 4] == b"ANMF":
            left, top, width, height = (
                int.from_bytes(data[position + 8 + at : position + 11 + at], "little") for at in (0, 3, 6, 9)
            )
            return 2 * left, 2 * top, 2 * left + width + 1, 2 * top + height + 1
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return None


def _refusal(data: bytes) -> UnsupportedFormat | NotAnImage:
    head = data.lstrip()[:64] if data[:1].isspace() else data[:64]
    accepted = "JPEG, PNG, WebP, GIF and BMP are accepted"
    name = next((name for (at, magic), name in _REFUSED.items() if head[at : at + len(magic)] == magic), None)
    if data[4:8] == b"ftyp":
        box = data[: min(256, int.from_bytes(data[:4], "big"))]
        brands = {box[8:12], *(box[at : at + 4] for at in range(16, len(box), 4))}
        name = next((name for name, codes in _BRANDS.items() if brands & set(codes)), "an MP4 video")
    if name is not None:
        return UnsupportedFormat(f"The bytes are {name}; {accepted}.")
    return NotAnImage(f"The first bytes are not those of an image; {accepted}, with their unchanged bytes as the body.")


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if max(size) > limits.max_side_px:
        raise TooManyPixels(f"The image is {width}×{height} px; a side may have at most {limits.max_side_px} px.")
    if width * height > limits.max_pixels:
        raise TooManyPixels(f"The image is {width}×{height} px; at most {limits.max_pixels} pixels are accepted.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas that a WebP header declares (RFC 9649, sections 2.5 to 2.7); (0, 0) if the header is cut off."""
    chunk, body = data[12:16], data[20:30]
    try:
        if chunk == b"VP8X":
            return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        if chunk == b"VP8L":
            (bits,) = struct.unpack_from("<I", body, 1)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if chunk == b"VP8 ":
            width, height = struct.unpack_from("<HH", body, 6)
            return width & 0x3FFF, height & 0x3FFF
    except struct.error:
        pass
    return 0, 0


def _jpeg(data: bytes, limits: DecodeLimits, told: Metadata, tagged: Tagged) -> DecodedImage | None:
    """By libjpeg-turbo without Pillow's copies; None if Pillow must decode it."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # Pillow says what is wrong
        return None
    _check_size((width, height), limits)
    mode = "CMYK" if space in ("CMYK", "YCCK") else "RGB"
    try:
        pixels = decode_whole(data, mode)
    except NotForLibjpeg:
        return None
    conversion = conversion_to_srgb(tagged, mode, gray=space == "Gray")
    if mode == "CMYK":  # stored inverted, as Adobe does and Pillow assumes
        pixels = _by_rows(~pixels, mode, conversion.apply or (lambda image: image.convert("RGB")))
    elif conversion.apply is not None:
        pixels = _by_rows(pixels, mode, conversion.apply)
    return DecodedImage(_turned(pixels, _orientation(told.exif)), "JPEG", conversion.profile, conversion.warning)


def _by_rows(pixels: Pixels, mode: str, apply: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Applies a conversion to RGB to some rows at a time, so that Pillow never copies the whole image."""
    height, width = pixels.shape[:2]
    converted = pixels if mode == "RGB" else np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        rows = pixels[top : top + _ROWS]
        converted[top : top + _ROWS] = np.asarray(apply(Image.frombytes(mode, (width, len(rows)), rows.tobytes())))
    return converted


def _fit_transparency(image: Image.Image) -> None:
    """Scales a PNG's transparent colour from the file's bit depth to the 8 bits of its pixels. Call before `load`."""
    colour = image.info.get("transparency")
    depth = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    if depth in ("L;2", "L;4") and isinstance(colour, int):
        image.info["transparency"] = colour * (85 if depth == "L;2" else 17)
    elif depth == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _unusual(data: bytes, file_format: str, error: str) -> str | None:
    """What a file is that is valid, perhaps, but of a kind that no decoder here knows."""
    if file_format == "JPEG":
        return unusual_kind(data)
    found = _UNUSUAL_BMP.match(error) if file_format == "BMP" else None
    return f"a BMP of an unusual {found[1]}" if found else None


def _is_cut(data: bytes, file_format: str) -> bool:
    """Whether the end of a file that failed to decode is missing."""
    match file_format:
        case "JPEG":
            return b"\xff\xd9" not in data[-32:]
        case "PNG":
            return b"IEND" not in data[-16:]
        case "GIF":
            return not data.endswith(b";")
        case "WEBP":
            return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
        case _:
            return int.from_bytes(data[2:6], "little") > len(data)


def _orientation(exif: bytes) -> int:
    """EXIF's alone, as browsers do: Pillow would also believe XMP, which many programs leave as it was."""
    if not exif:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif)
        orientation = tags.get(_EXIF_ORIENTATION, 1)
        return orientation if orientation in _UPRIGHT else 1
    except Exception:  # A malformed tag must not cost the client its answer (huggingface/datasets#7668).
        return 1


def _turned(stored: Pixels, orientation: int) -> Pixels:
    turn = _UPRIGHT.get(orientation)
    return stored if turn is None else np.ascontiguousarray(turn(stored))


def _in_srgb(image: Image.Image, tagged: Tagged) -> tuple[Pixels, Conversion]:
    """(H, W, 3) on white, and how it became so. Some rows at a time: each step copies what it gets."""
    gray = Image.getmodebase(image.mode) == "L"
    pixels, conversion = np.empty((image.height, image.width, 3), np.uint8), None
    for top in range(0, image.height, _ROWS):
        rows = image.crop((0, top, image.width, min(image.height, top + _ROWS)))
        flat = _eight_bits(rows, keep_inks=tagged.icc is not None)
        if conversion is None:
            conversion = conversion_to_srgb(tagged, flat.mode, gray)
        pixels[top : top + _ROWS] = np.asarray(_on_white(conversion.apply(flat) if conversion.apply else flat))
    return pixels, conversion or Conversion()


def _eight_bits(image: Image.Image, keep_inks: bool) -> Image.Image:
    """RGB, RGBA where something is transparent, or CMYK if inks are kept."""
    if image.mode.startswith("I"):
        return _gray_16(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode == "RGB" or (image.mode == "CMYK" and keep_inks) else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _gray_16(image: Image.Image) -> Image.Image:
    """16-bit gray, scaled: Pillow's own conversion clips everything above 255 to white."""
    values = np.asarray(image).astype(np.uint32)
    gray = Image.fromarray(((values * 255 + 32_767) // 65_535).clip(0, 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return gray.convert("RGB")
    alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return Image.merge("RGBA", (gray, gray, gray, alpha))
