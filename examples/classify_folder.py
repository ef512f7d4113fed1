"""Classifies every image below a folder into a CSV file: python examples/classify_folder.py FOLDER labels.csv.

A few requests are always under way, so that the service can batch them. An image that is refused gets a row with the
problem's code. Needs httpx.
"""

import argparse
import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from classify import classify

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


def main() -> int:
    """Writes one row per image: path, label, score, problem. Returns 1 if an image was refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="images in this folder and below it are classified")
    parser.add_argument("csv", type=Path, help="the file to write")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the service (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="requests at a time, at most 100 (default: %(default)s)")
    parsed = parser.parse_args()
    photos = sorted(path for path in parsed.folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not photos:
        print(f"There is no image below {parsed.folder}.", file=sys.stderr)
        return 1
    refused = 0
    with (
        httpx.Client(base_url=parsed.url, timeout=30) as client,
        ThreadPoolExecutor(parsed.clients) as pool,
        parsed.csv.open("w", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["path", "label", "score", "problem"])
        for done, row in enumerate(pool.map(lambda photo: _row(client, photo), photos), start=1):
            writer.writerow(row)
            refused += bool(row[-1])
            print(f"\r{done} of {len(photos)}", end="", file=sys.stderr)
    print(f"\nWritten to {parsed.csv}; {refused} of {len(photos)} were refused.", file=sys.stderr)
    return 1 if refused else 0


def _row(client: httpx.Client, photo: Path) -> tuple[str, str, str, str]:
    try:
        best = classify(client, photo, top_k=1)["predictions"][0]
    except ValueError as error:
        return str(photo), "", "", str(error)
    return str(photo), best["label"], f"{best['score']:.4f}", ""


if __name__ == "__main__":
    sys.exit(main())
