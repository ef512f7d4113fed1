"""MLServer with a runtime of one's own, as its documentation asks for where a framework has none; adaptive batching on.

https://docs.seldon.ai/mlserver/user-guide/adaptive-batching
"""

import io

import torch
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from network import load_network
from PIL import Image


class ImageClassifier(MLModel):
    """BYTES (N) in; the five best labels (N, 5) and their probabilities (N, 5) out."""

    async def load(self) -> bool:
        """Once."""
        self.network, self.transform, self.labels = load_network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One forward pass for a batch that MLServer has put together."""
        images = Base64Codec.decode_input(payload.inputs[0])
        pixels = torch.stack([self.transform(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
        with torch.inference_mode():
            scores, indices = self.network(pixels).softmax(-1).topk(5)
        labels = StringCodec.encode_output("labels", [self.labels[index] for index in indices.flatten().tolist()])
        labels.shape = [len(images), 5]
        return InferenceResponse(
            model_name=self.name, outputs=[labels, NumpyCodec.encode_output("scores", scores.numpy())]
        )
