"""Classifies one image: python examples/classify.py PHOTO [--url http://127.0.0.1:8000]. Needs httpx."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import httpx


def classify(client: httpx.Client, photo: Path, top_k: int = 5, attempts: int = 5) -> dict[str, Any]:
    """The result of one image.

    Args:
        client: its base_url is the service's.
        photo: any JPEG, PNG, WebP, GIF or BMP.
        top_k: number of labels, 1 to 1000.
        attempts: how often to try if the service answers 429 or 503.

    Returns:
        `predictions` (label and score, best first), `width` and `height` in pixels.

    Raises:
        ValueError: the service refused the image; the message has its code, what was found, and what to do.
    """
    image = photo.read_bytes()
    for attempt in range(attempts):
        answer = client.post("/classify", content=image, params={"top_k": top_k})
        if answer.status_code not in (429, 503) or attempt == attempts - 1:
            break
        time.sleep(float(answer.headers.get("retry-after", "1")))
    if answer.is_error:
        if answer.headers.get("content-type") != "application/problem+json":
            answer.raise_for_status()
        problem = answer.json()
        raise ValueError(f"{photo}: {problem['code']}: {problem['detail']} {problem['remedy']}")
    result: dict[str, Any] = answer.json()["results"][0]
    return result


def main() -> int:
    """Prints the labels of one image; returns 1 if the service refused it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path, help="an image file")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the service (default: %(default)s)")
    parsed = parser.parse_args()
    with httpx.Client(base_url=parsed.url, timeout=30) as client:
        try:
            result = classify(client, parsed.photo)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 1
    for prediction in result["predictions"]:
        print(f"{prediction['score']:7.2%}  {prediction['label']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
