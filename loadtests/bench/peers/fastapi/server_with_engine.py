"""FastAPI with Sightline's decoder, preprocessing and engine, to compare the serving layers alone."""

import os
from pathlib import Path

import numpy as np
from fastapi import FastAPI, UploadFile

from vision.bundle.store import load_bundle
from vision.engines.selection import load_engine
from vision.image import DecodeLimits, decode
from vision.prediction import probabilities, top_k

app = FastAPI()
BUNDLE = load_bundle(Path(os.environ["BENCH_BUNDLE"]))
ENGINE = load_engine(BUNDLE, "auto", len(os.sched_getaffinity(0)), DecodeLimits())
MANIFEST = BUNDLE.manifest


@app.post("/classify")
async def classify(image: UploadFile) -> dict[str, object]:
    """One image's five best labels. On the event loop: an engine runs one inference at a time."""
    pixels = MANIFEST.preprocessing.apply(decode(await image.read(), DecodeLimits()).pixels)
    scores = probabilities(ENGINE.infer(np.expand_dims(pixels, 0))[0], MANIFEST.temperature)
    return {
        "predictions": [{"label": found.label, "score": found.score} for found in top_k(scores, MANIFEST.categories, 5)]
    }
