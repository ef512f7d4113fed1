"""The peers' own environments, each installed exactly as its lock says."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from loadtests.bench.contenders import PEERS
from loadtests.bench.machine import ROOT


def install(peer: str, console: Console) -> None:
    """Installs a peer's environment, unless it is there already.

    Args:
        peer: a folder below peers/.
        console: where progress is shown.
    """
    folder = PEERS / peer
    lock, python, stamp = folder / "requirements.lock", folder / ".venv" / "bin" / "python", folder / ".venv" / "lock"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    console.print(f"Installing {peer}…")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run(
        [uv, "venv", "--quiet", "--allow-existing", str(folder / ".venv"), "--python", sys.executable], check=True
    )
    subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock)], check=True)
    if any(folder.glob("*_with_engine.py")):
        own = ["--no-deps", "--no-build-isolation-package", "sightline", "--editable", str(ROOT)]
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *own], check=True)
    stamp.write_text(lock.read_text())
