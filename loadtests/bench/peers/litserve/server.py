"""LitServe as its guide to image classification does it: base64 in JSON, decoded by the worker, batches of a timeout.

https://lightning.ai/docs/litserve/speed-up-serving-by-200x
"""

import base64
import io
import sys

import litserve
import torch
from network import BATCH_TIMEOUT_S, MAX_BATCH_SIZE, load_network, top_5
from PIL import Image


class ImageClassifier(litserve.LitAPI):
    """Called in this order; `predict` gets what `batch` made."""

    def setup(self, device: str) -> None:
        """Once a worker."""
        network, self.transform, self.labels = load_network()
        self.network = network.to(device)

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        """JSON → (3, 224, 224)."""
        return self.transform(Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB"))

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """→ (N, 3, 224, 224)."""
        return torch.stack(inputs)

    def predict(self, x: torch.Tensor) -> list[list[dict[str, object]]]:
        """→ N answers."""
        with torch.inference_mode():
            return top_5(self.network(x), self.labels)

    def unbatch(self, output: list[list[dict[str, object]]]) -> list[list[dict[str, object]]]:
        """They are separate already."""
        return output

    def encode_response(self, output: list[dict[str, object]]) -> dict[str, object]:
        """→ JSON."""
        return {"predictions": output}


if __name__ == "__main__":
    api = ImageClassifier(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False
    )
