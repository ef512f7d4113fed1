"""The JSON of GET /filters and POST /convolve."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_INPUT_PX = 32
MAX_KERNEL_PX = 7
MAX_CHANNELS = 3
MAX_VALUE = 1e6

Number = Annotated[float, Field(ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)]
_InputRow = Annotated[list[Number], Field(min_length=1, max_length=MAX_INPUT_PX)]
InputPlane = Annotated[list[_InputRow], Field(min_length=1, max_length=MAX_INPUT_PX)]
_KernelRow = Annotated[list[Number], Field(min_length=1, max_length=MAX_KERNEL_PX)]
KernelPlane = Annotated[list[_KernelRow], Field(min_length=1, max_length=MAX_KERNEL_PX)]
Matrix = list[list[float]]


class ConvolveRequest(BaseModel):
    """An input, a kernel, and what to do with them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,  # a text is no number, and true is not 1
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {"input": [[0, 0, 9, 9]] * 4, "kernel": [[-1, 0, 1]] * 3, "stride": 1, "padding": "valid", "relu": True}
            ]
        },
    )

    input: InputPlane | Annotated[list[InputPlane], Field(min_length=1, max_length=MAX_CHANNELS)]
    """Rows of numbers, at most 32×32, -10⁶ to 10⁶; or up to 3 channels of them."""
    kernel: KernelPlane | Annotated[list[KernelPlane], Field(min_length=1, max_length=MAX_CHANNELS)]
    """Rows of numbers, at most 7×7; with as many channels as the input."""
    bias: Number = 0.0
    """Added to every sum."""
    stride: Annotated[int, Field(ge=1, le=4)] = 1
    """Pixels from one position of the kernel to the next."""
    padding: Literal["valid", "same"] | Annotated[int, Field(ge=0, le=MAX_KERNEL_PX)] = "valid"
    """`valid`: none; `same`: as few zeros as give ⌈side ÷ stride⌉; a number: as many zeros on each side."""
    relu: bool = False
    """Whether negative sums become 0."""
    pool: Literal["max", "average"] | None = None
    """What 2×2 pooling takes of each window, after ReLU."""
    steps: bool = True
    """Whether to give every position with its products; at most 8,192 of them."""


class ConvolveStep(BaseModel):
    """One position of the kernel."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    row: int
    """Of the output."""
    column: int
    """Of the output."""
    top: int
    """Row of the input under the kernel's first row; negative in the padding."""
    left: int
    """Column of the input under the kernel's first column; negative in the padding."""
    region: list[Matrix]
    """The pixels under the kernel, by channel."""
    products: list[Matrix]
    """Region × kernel, by channel."""
    total: float
    """Their sum, without the bias."""


class ConvolveResponse(BaseModel):
    """The output, and how it came about."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "output": [[27.0, 27.0], [27.0, 27.0]],
                    "activated": [[27.0, 27.0], [27.0, 27.0]],
                    "pooled": None,
                    "padded": [[0, 0], [0, 0]],
                    "formula": ["(4 − 3 + 0) / 1 + 1 = 2", "(4 − 3 + 0) / 1 + 1 = 2"],
                    "pool_formula": None,
                    "steps": [
                        {
                            "row": 0,
                            "column": 0,
                            "top": 0,
                            "left": 0,
                            "region": [[[0.0, 0.0, 9.0], [0.0, 0.0, 9.0], [0.0, 0.0, 9.0]]],
                            "products": [[[0.0, 0.0, 9.0], [0.0, 0.0, 9.0], [0.0, 0.0, 9.0]]],
                            "total": 27.0,
                        }
                    ],
                }
            ]
        },
    )

    output: Matrix
    """Every sum with the bias."""
    activated: Matrix | None = None
    """After ReLU, if it was asked for."""
    pooled: Matrix | None = None
    """After pooling, if it was asked for."""
    padded: list[tuple[int, int]]
    """Zeros added above and below, and to the left and right."""
    formula: list[str]
    """How the output's height and width follow from the input's."""
    pool_formula: list[str] | None = None
    """How the pooled height and width follow."""
    steps: list[ConvolveStep] | None = None
    """Every position, row by row, if they were asked for."""


class NamedKernel(BaseModel):
    """A filter."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """As `vision.convolution.FILTERS` names it."""
    kernel: Matrix
    """3×3."""
    does: str
    """What it detects or does."""


class NamedPattern(BaseModel):
    """An image."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """As `vision.patterns.PATTERNS` names it."""
    pixels: Matrix
    """8×8, 0 to 9."""
    shows: str
    """What it is."""


class FilterList(BaseModel):
    """The answer to GET /filters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "filters": [
                        {"name": "sharpen", "kernel": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]], "does": "Adds detail."}
                    ],
                    "patterns": [{"name": "vertical_edge", "pixels": [[0, 0, 9, 9]], "shows": "dark, then bright"}],
                }
            ]
        }
    )

    filters: list[NamedKernel]
    patterns: list[NamedPattern]
