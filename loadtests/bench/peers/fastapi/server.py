"""FastAPI and torch, as tutorials put them together: an upload, one forward pass an image, in the thread pool.

https://fastapi.tiangolo.com/tutorial/request-files/
"""

import torch
from fastapi import FastAPI, UploadFile
from network import load_network, top_5
from PIL import Image

app = FastAPI()
NETWORK, TRANSFORM, LABELS = load_network()


@app.post("/classify")
def classify(image: UploadFile) -> dict[str, object]:
    """One image's five best labels."""
    pixels = TRANSFORM(Image.open(image.file).convert("RGB"))
    with torch.inference_mode():
        return {"predictions": top_5(NETWORK(pixels[None]), LABELS)[0]}
