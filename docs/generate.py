"""`make docs`: writes the pages under docs/ that follow from the code, so that they cannot disagree with it.

tree.md lists every file with its first sentence. A test compares each page with what this program gives.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Files that cannot say themselves what they are for, by name or by ending.
_TREE = {
    "LICENSE": "Apache-2.0",
    "models/.gitignore": "keeps trained models out of the repository",
    "requirements.lock": "every version and hash of the requirements.in beside it",
    ".lock": "every version and hash of the .in file of the same name",
    "sample.png": "a drawn digit to try",
    "tree.md": "this page",
    "page.png": "picture: the web page",
    "report.png": "picture: the beginning of a training report",
    "capacity.png": "picture: latency and batch size against the offered load",
    "glyphs.safetensors": "the pretrained backbone of the demo",
    "model-settings.json": "what MLServer is told of the network",
    "dashboards.json": "a Grafana dashboard, written by `python -m deploy.grafana.dashboards`",
}
_COMMENT = re.compile(r"^(?:#|//|/\*|--|<!--|\{#-)\s*(.*?)\s*(?:\*/|-->|-#\})?$")


def tree() -> str:
    """Every tracked file outside tests/, docs/adr/ and docs/runbooks/, with its first sentence, by folder."""
    lines = [
        "# The tree",
        "",
        "Every file with its first sentence. Written by `make docs`; a test compares it with the files.",
        "",
    ]
    folder = None
    for name in tracked():
        path = Path(name)
        if name.startswith(("tests/", "docs/adr/", "docs/runbooks/")):
            continue
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"## {folder.as_posix()}/" if folder != Path() else "## .", ""]
        lines.append(f"- `{path.name}` – {purpose(ROOT / path)}")
    lines += ["", "## tests/", "", "Mirrors the folders above.", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def tracked() -> list[str]:
    """What a clone would hold, with what is not committed yet; by folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    names = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    return sorted(names, key=lambda name: (Path(name).parent.parts, Path(name).name))


def purpose(file: Path) -> str:
    """The first sentence of a file.

    Raises:
        ValueError: the file does not say what it is for.
    """
    relative = file.relative_to(ROOT).as_posix()
    if file.parent.name == "dashboards" and file.suffix == ".json":
        return _TREE["dashboards.json"]
    for name in (relative, file.name, file.suffix):
        if name in _TREE:
            return _TREE[name]
    text = file.read_text()
    if file.suffix == ".py":
        found = ast.get_docstring(ast.parse(text)) or ""
    elif file.suffix == ".md":
        found = text.splitlines()[0].lstrip("# ")
    else:
        lines = (_COMMENT.match(line.strip()) for line in text.splitlines()[:12])
        found = next((match[1] for match in lines if match and match[1] and not match[1].startswith(("!", "@"))), "")
    sentence = re.split(r"(?<=[^.]\.)\s|\n\n", found.strip(), maxsplit=1)[0].replace("\n", " ")
    if not sentence:
        raise ValueError(f"{relative} does not say what it is for; begin it with a docstring or a comment.")
    return sentence


PAGES: Mapping[str, Callable[[], str]] = {"tree.md": tree}


def main() -> None:
    """Writes every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        print(f"Written to docs/{name}.")


if __name__ == "__main__":
    main()
