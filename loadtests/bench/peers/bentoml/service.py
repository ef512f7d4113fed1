"""BentoML as in its documentation: a service that takes the image, and a model whose calls are batched.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
"""

from typing import Any

import bentoml
import numpy as np
import torch
from network import MAX_BATCH_SIZE, load_network, top_5
from PIL.Image import Image


@bentoml.service(workers=1, traffic={"timeout": 60})
class Network:
    """(N, 3, 224, 224) → N answers; BentoML learns how long it may wait for company."""

    def __init__(self) -> None:
        self.network, _, self.labels = load_network()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=60_000)
    def predict(self, images: np.ndarray) -> list[list[dict[str, Any]]]:
        """One forward pass."""
        with torch.inference_mode():
            return top_5(self.network(torch.from_numpy(images)), self.labels)


@bentoml.service(workers=1, traffic={"timeout": 60})
class Classifier:
    """An uploaded image → its labels."""

    network = bentoml.depends(Network)

    def __init__(self) -> None:
        _, self.transform, _ = load_network()

    @bentoml.api
    async def classify(self, image: Image) -> list[dict[str, Any]]:
        """One image's five best labels."""
        pixels = self.transform(image.convert("RGB"))
        (answer,) = await self.network.to_async.predict(pixels[None].numpy())
        return answer
