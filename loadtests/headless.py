"""`make loadtest`: locust without its web page. Writes to loadtests/results/; status 1 if an objective was missed."""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from loadtests.bench.machine import RESULTS, ROOT
from loadtests.bench.sightline import running


def main() -> int:
    """Runs locust; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.headless",
        description=__doc__,
        epilog="What is not known here goes to locust: see locust --help.",
    )
    parser.add_argument(
        "--url", help="address of a running service, e.g. http://127.0.0.1:8000 (default: one is started)"
    )
    parser.add_argument(
        "--arch", default="mobilenet_v2", help="network of the service that is started (default: %(default)s)"
    )
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parsed, others = parser.parse_known_args()
    RESULTS.mkdir(exist_ok=True)
    with _address(parsed) as address:
        command = [
            *(
                str(Path(sys.executable).with_name("locust")),
                "--locustfile",
                "loadtests/locustfile.py",
                "--headless",
                "--only-summary",
            ),
            *(
                "--host",
                address,
                "--csv",
                str(RESULTS / "locust"),
                "--csv-full-history",
                "--html",
                str(RESULTS / "locust.html"),
            ),
            *(("--photos", str(parsed.photos)) if parsed.photos else ()),
            *others,
        ]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"Written to {RESULTS}: locust.html, locust_stats.csv, locust_stats_history.csv, locust_failures.csv.")
    return status


@contextlib.contextmanager
def _address(parsed: argparse.Namespace) -> Iterator[str]:
    if parsed.url:
        yield parsed.url
        return
    with running(parsed.arch, parsed.photos, Console(soft_wrap=True, markup=False, highlight=False)) as sightline:
        yield f"http://127.0.0.1:{sightline.port}"


if __name__ == "__main__":
    sys.exit(main())
