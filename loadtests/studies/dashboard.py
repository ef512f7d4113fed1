"""`python -m loadtests.studies.dashboard`: the overview dashboard's panels, drawn from what a real Prometheus read of a real service.

The service runs as shipped, with rendered or real photos; locust's clients come in steps, with broken images among the good ones,
and then more of them at once than the service has places.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from deploy.grafana.panels import OVERVIEW
from deploy.grafana.picture import draw
from loadtests.bench.bench import ROOT, default_photos, wrk
from loadtests.bench.prometheus import prometheus
from loadtests.bench.sightline import running

_TOO_MANY = 160  # clients; a replica has 128 places
_SETTLED_S = 15  # until what was counted last has been scraped


def main() -> None:
    """Loads, and draws."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.dashboard", description=__doc__)
    parser.add_argument("--photos", type=Path, default=default_photos(), help="a folder of photos (default: rendered)")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--seconds", type=int, default=240, help="of the steps; the rest takes a quarter of that")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "dashboard.png")
    parsed = parser.parse_args()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="sightline-dashboard-") as folder,
        running(parsed.arch, parsed.photos, console) as sightline,
        prometheus(sightline.metrics_port, Path(folder)) as address,
    ):
        begun = time.time()
        locust = [
            *(
                str(Path(sys.executable).with_name("locust")),
                "--locustfile",
                "loadtests/locustfile.py",
                "--headless",
                "--only-summary",
            ),
            *("--host", f"http://127.0.0.1:{sightline.port}", "--clients", "48", "--seconds", str(parsed.seconds)),
            *(("--photos", str(parsed.photos)) if parsed.photos else ()),
        ]
        subprocess.run(locust, cwd=ROOT, check=False)
        wrk(_TOO_MANY, parsed.seconds // 8, sightline.load)
        wrk(4, parsed.seconds // 8, sightline.load)
        time.sleep(_SETTLED_S)
        draw(OVERVIEW, address, begun, time.time(), parsed.out)
    console.print(f"Written to {parsed.out}.")


if __name__ == "__main__":
    main()
