"""What the API needs of what computes its answers. `service.app` gives it the real ones, tests may give others."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from vision.bundle.store import Bundle
from vision.classification import Classification


class ClassifierLike(Protocol):
    """What the API needs of a classifier; `service.model.classifier.Classifier` is one.

    Attributes:
        bundle: what is served now.
    """

    bundle: Bundle

    @property
    def engine(self) -> str:
        """Engine, device and precision."""
        ...

    @property
    def has_linear_head(self) -> bool | None:
        """Whether the network ends in global average pooling and one linear layer; None if that is not known."""
        ...

    async def classify(self, data: bytes, deadline: float) -> Classification:
        """Classifies one encoded image, by a deadline of `time.monotonic()`."""
        ...

    def check_ready(self) -> None:
        """Raises NotReady if requests cannot be answered."""
        ...


class LaneLike(Protocol):
    """What the API needs of a lane; `service.explanation.lane.Lane` is one."""

    async def ask(self, question: dict[str, Any], image: bytes) -> bytes:
        """The body of the answer."""
        ...

    def halted(self) -> AbstractContextManager[None]:
        """Halts what computes explanations until the block ends."""
        ...

    def check_free(self) -> None:
        """Raises ExplanationBusy if a question is being answered."""
        ...
