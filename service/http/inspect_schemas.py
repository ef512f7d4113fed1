"""The JSON of the answer to POST /inspect."""

from service.http.explanation_answer import PNG_ADDRESS, Answer, Part, example


class FileFacts(Part):
    """The file."""

    format: str
    bytes: int
    mode: str
    """Pillow's name of the stored pixels, e.g. RGB, L, CMYK, P."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright."""
    width: int
    """Pixels of the upright image."""
    height: int
    """Pixels of the upright image."""
    colours: str
    """What was done with the file's colour profile, as a part of a sentence."""


class InspectStep(Part):
    """One step."""

    name: str
    """stored, upright, channels, resized, squared or normalised."""
    does: str
    """What it does, as a part of a sentence."""
    shape: list[int]
    """Height, width, channels; after `normalised` channels, height, width."""
    dtype: str
    minimum: float
    maximum: float
    mean: float
    picture: str
    """As a data address of a PNG of at most 256 px."""


class Square(Part):
    """The network's square in numbers; arrays as base64 of their bytes, little-endian, in C order."""

    side: int
    """Pixels, after sampling."""
    sampled_every: int
    """1 unless the square has more than 256 px on a side."""
    channels: int
    """Of the network: 1 or 3."""
    rgb: str
    """uint8 (side, side, 3)."""
    network: str
    """uint8 (side, side, channels), as the network gets it."""
    normalised: str
    """float32 (channels, side, side)."""


class Plane(Part):
    """One plane of a colour space."""

    name: str
    range: list[float]
    """Lowest and highest value that it can have."""
    values: str
    """float32 (side, side), as base64."""
    histogram: list[int]
    """Pixels in 32 bins of equal width over the range."""


class InspectResponse(Answer):
    """What a file is, and what each preprocessing step makes of it."""

    model_config = example(
        facts={
            "format": "PNG",
            "bytes": 2729,
            "mode": "L",
            "orientation": 1,
            "width": 280,
            "height": 280,
            "colours": "taken as sRGB",
        },
        box=[0.0, 0.0, 280.0, 280.0],
        steps=[
            {
                "name": "resized",
                "does": "scales the long side to 16 px (bilinear interpolation with antialiasing)",
                "shape": [16, 16, 1],
                "dtype": "uint8",
                "minimum": 20.0,
                "maximum": 255.0,
                "mean": 225.9,
                "picture": PNG_ADDRESS,
            }
        ],
        square={
            "side": 16,
            "sampled_every": 1,
            "channels": 1,
            "rgb": "////…",
            "network": "////…",
            "normalised": "AACAPw…",
        },
        planes={"gray": [{"name": "gray (ITU-R 709)", "range": [0, 1], "values": "AACAPw…", "histogram": [0, 12]}]},
    )

    facts: FileFacts
    box: list[float]
    """Left, top, right, bottom of the network's square on the upright image."""
    steps: list[InspectStep]
    square: Square
    planes: dict[str, list[Plane]]
    """By colour space, for those that were asked for."""
