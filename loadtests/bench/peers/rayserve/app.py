"""Ray Serve as its documentation shows batching, behind its default proxy.

https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html
"""

import io
import sys
import time
from typing import Any

import ray
import torch
from network import BATCH_TIMEOUT_S, MAX_BATCH_SIZE, load_network, top_5
from PIL import Image
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=100)
class Classifier:
    """One replica."""

    def __init__(self) -> None:
        self.network, self.transform, self.labels = load_network()

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_TIMEOUT_S)
    async def classify(self, images: list[bytes]) -> list[list[dict[str, Any]]]:
        """One forward pass."""
        pixels = torch.stack([self.transform(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
        with torch.inference_mode():
            return top_5(self.network(pixels), self.labels)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """The body is the image."""
        return {"predictions": await self.classify(await request.body())}


if __name__ == "__main__":
    ray.init(include_dashboard=False, _node_ip_address="127.0.0.2")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Classifier.bind(), route_prefix="/classify")
    while True:
        time.sleep(3600)
