"""The JSON of the answer to POST /explain."""

from service.http.explanation_answer import Answer, Matrix, Part, example
from service.http.schemas import LabelScore


class Agreement(Part):
    """How far a copy of the engine that serves is from the copy that explains, on this image."""

    engine: str
    """The kind of engine that serves."""
    largest_difference: float
    """Of the probabilities of all categories."""


class Change(Part):
    """What covering does to one label."""

    label: str
    before: float
    """Probability without the cover."""
    after: float
    """Probability with the cover."""
    logit_change: float
    """Logit with the cover minus without."""


class ExplainResponse(Answer):
    """Which parts of an image speak for a label."""

    model_config = example(
        method="cam",
        label="7",
        against="3",
        width=280,
        height=280,
        box=[0.0, 0.0, 280.0, 280.0],
        logits={"label": 5.494404, "against": 1.857461},
        predictions=[{"label": "7", "score": 0.986339}, {"label": "3", "score": 0.012747}],
        agreement={"engine": "openvino-bf16", "largest_difference": 0.000581},
        grid=[[0.1, 1.2], [0.4, 1.936943]],
        sum=3.636943,
    )

    method: str
    """cam, occlusion or cover."""
    label: str
    """The category that is explained."""
    against: str | None
    """The category that it is compared with."""
    width: int
    """Pixels of the upright image."""
    height: int
    """Pixels of the upright image."""
    box: list[float]
    """Left, top, right, bottom of the grid on the upright image; beyond it where the preprocessing fills up."""
    logits: dict[str, float]
    """Logit of `label` and of `against`."""
    predictions: list[LabelScore]
    """The best first."""
    agreement: Agreement | None
    """Null if the engine serves on another device than the CPU."""
    grid: Matrix | None = None
    """cam: what each cell adds to the logit, or to the difference of the two; occlusion: what is lost without it."""
    sum: float | None = None
    """cam: of the grid, which is the logit, or the difference of the two."""
    scores: Matrix | None = None
    """occlusion: probability of the label while each cell is covered."""
    cover: list[int] | None = None
    """cover: left, top, width, height of the rectangle."""
    cover_value: list[int] | None = None
    """occlusion, cover: the value with which it is covered, by channel, 0 to 255."""
    changes: list[Change] | None = None
    """cover: the labels that are best before or after."""
