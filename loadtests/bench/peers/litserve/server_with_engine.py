"""LitServe with Sightline's decoder, preprocessing and engine, to compare the serving layers alone."""

import base64
import os
import sys
from pathlib import Path

import litserve
import numpy as np
import numpy.typing as npt

from vision.bundle.store import load_bundle
from vision.engines.selection import load_engine
from vision.image import DecodeLimits, Pixels, decode
from vision.prediction import probabilities, top_k

MAX_BATCH_SIZE = 16
BATCH_TIMEOUT_S = 0.01


class ImageClassifier(litserve.LitAPI):
    """As `server.py`."""

    def setup(self, device: str) -> None:
        """Once a worker."""
        self.bundle = load_bundle(Path(os.environ["BENCH_BUNDLE"]))
        self.engine = load_engine(self.bundle, "auto", len(os.sched_getaffinity(0)), DecodeLimits())

    def decode_request(self, request: dict[str, str]) -> Pixels:
        """JSON → (224, 224, 3)."""
        return self.bundle.manifest.preprocessing.apply(
            decode(base64.b64decode(request["image"]), DecodeLimits()).pixels
        )

    def batch(self, inputs: list[Pixels]) -> Pixels:
        """→ (N, 224, 224, 3)."""
        return np.stack(inputs)

    def predict(self, x: Pixels) -> npt.NDArray[np.float32]:
        """→ (N, classes)."""
        return self.engine.infer(x)

    def unbatch(self, output: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """→ N rows."""
        return list(output)

    def encode_response(self, output: npt.NDArray[np.float32]) -> dict[str, object]:
        """→ JSON."""
        manifest = self.bundle.manifest
        found = top_k(probabilities(output, manifest.temperature), manifest.categories, 5)
        return {"predictions": [{"label": label, "score": score} for label, score in found]}


if __name__ == "__main__":
    api = ImageClassifier(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False
    )
