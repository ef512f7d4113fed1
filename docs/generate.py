"""`make docs`: writes the pages under docs/ that follow from the code, so that they cannot disagree with it.

tree.md lists every file with its first sentence, settings.md every setting, limits.md what a client may send;
openapi.json describes the API. A test compares each page with what this program gives.
"""

import ast
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from service.errors import PROBLEMS
from service.explanation.lane import Lane
from service.http.api import create_api
from service.http.explain import MAX_CELLS, MIN_CELLS
from service.http.forms import MAX_FIELDS
from service.http.schemas import DEFAULT_TOP_K, MAX_TOP_K
from service.http.textbook import MAX_BODY_BYTES, MAX_PRODUCTS
from service.http.textbook_schemas import MAX_CHANNELS, MAX_INPUT_PX, MAX_KERNEL_PX, MAX_VALUE
from service.model.classifier import Classifier
from service.observability.metrics import Metrics
from service.settings import PREFIX, Settings
from training.config import TrainConfig
from training.loop.config import LoopConfig
from vision.bundle.store import find_bundle, load_bundle

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Files that cannot say themselves what they are for, by name or by ending.
_TREE = {
    "LICENSE": "Apache-2.0",
    "models/.gitignore": "keeps trained models out of the repository",
    "requirements.lock": "every package to install, with version and hash; written by `make lock`",
    ".lock": "every package to install, with version and hash; written by `make lock`",
    "sample.png": "a drawn digit to try",
    "tree.md": "this page",
    "report.png": "picture: the beginning of a training report",
    "capacity.png": "picture: latency and batch size against the offered load",
    "glyphs.safetensors": "the pretrained backbone of the demo",
    "model-settings.json": "what MLServer is told of the network",
    "limits.md": "every default limit that a client can meet; written by `make docs`",
    "settings.md": "every setting, with bounds and unit; written by `make docs`",
    "openapi.json": "the API's description in OpenAPI 3.1; written by `make docs`",
    "dashboards.json": "a Grafana dashboard, written by `python -m deploy.grafana.dashboards`",
}
# Folders of which the page names only the purpose.
_UNLISTED = ("tests/", "docs/adr/", "docs/runbooks/", "docs/pictures/", "service/demo/")
_COMMENT = re.compile(r"^(?:#|//|/\*|--|<!--|\{#-)\s*(.*?)\s*(?:\*/|-->|-#\})?$")


def tree() -> str:
    """Every tracked file with its first sentence, by folder; some folders only with their purpose."""
    lines = [
        "# The tree",
        "",
        "Every file with its first sentence. Written by `make docs`; a test compares it with the files.",
        "",
    ]
    folder = None
    for name in tracked():
        path = Path(name)
        if name.startswith(_UNLISTED):
            continue
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"## {folder.as_posix()}/" if folder != Path() else "## .", ""]
        lines.append(f"- `{path.name}` – {purpose(ROOT / path)}")
    lines += ["", "## service/demo/", "", "The bundle that is served if there is no model; `make demo` makes it again."]
    lines += ["", "## docs/pictures/", "", "The page's views, by `make pictures`."]
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


def settings() -> str:
    """Every setting of the service and of training: name, default, what is accepted, what it does."""
    training = [name for name in TrainConfig.model_fields if name not in LoopConfig.model_fields]
    lines = [
        "# Settings",
        "",
        "Written by `make docs` from `service/settings.py`, `training/config.py` and `training/loop/config.py`.",
        "",
        "## Service",
        "",
        "Environment variables, for `sightline serve`, `make serve` and compose's `.env`. In `deploy/serve.yaml` they "
        "are the `args`, in lower case and without the prefix; Ray's `http_options` set host and port there. `make "
        "serve` takes HOST and PORT instead, and compose sets host, ports and models folder itself. A value out of "
        "range, or an unknown variable that begins with `SIGHTLINE_`, stops the start with a message that names it.",
        "",
        *_table(Settings, list(Settings.model_fields), lambda name: f"{PREFIX}{name.upper()}"),
        "",
        "## Training",
        "",
        "Keys of a recipe's `[config]` table. On the command line each is an option, e.g. `--batch-size 64` for "
        "`batch_size`. `arch_arguments` and `preprocessing` are tables, so only a recipe can set them.",
        "",
        *_table(TrainConfig, [*training, *LoopConfig.model_fields], lambda name: name),
    ]
    return "\n".join(lines) + "\n"


def _table(kind: type[BaseModel], names: list[str], shown: Callable[[str], str]) -> list[str]:
    properties = kind.model_json_schema()["properties"]
    rows = ["| setting | default | accepted | meaning |", "|---|---|---|---|"]
    for name in names:
        described = properties[name]
        default = described.get("default")
        cells = (
            f"`{shown(name)}`",
            "not set" if default in (None, "") else f"`{default}`",
            _accepted(described),
            " ".join(described["description"].split()),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _accepted(described: dict[str, Any]) -> str:
    """The values that a field's JSON schema accepts, in words."""
    kinds = [kind for kind in described.get("anyOf", [described]) if kind.get("type") != "null"]
    (kind,) = kinds
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if kind.get("type") in ("integer", "number"):
        low = f"{kind['minimum']}" if "minimum" in kind else f"above {kind['exclusiveMinimum']}"
        high = f"{kind['maximum']}" if "maximum" in kind else f"below {kind['exclusiveMaximum']}"
        return f"{low} to {high}" + (", whole" if kind["type"] == "integer" else "")
    if "pattern" in kind:
        return f"`{kind['pattern']}`"
    words = {"boolean": "`true`, `false`", "object": "a table"}
    return words.get(kind.get("type", "object"), {"path": "a path"}.get(kind.get("format", ""), "text"))


def openapi() -> str:
    """The API's description, as GET /openapi.json gives it for any model with the default settings."""
    bundle = load_bundle(find_bundle(ROOT / "service" / "demo", None))
    metrics = Metrics(CollectorRegistry())
    classifier = Classifier(bundle, Settings(), metrics)
    api = create_api(classifier, Lane(bundle, classifier.engine, Settings(), metrics), Settings(), metrics)
    return json.dumps(api.openapi(), indent=1, ensure_ascii=False) + "\n"


def limits() -> str:
    """Every default limit that a client can meet, with the problem that it gets beyond it."""
    default = {name: field.default for name, field in Settings.model_fields.items()}
    lines = [
        "# Limits",
        "",
        "Every limit that a client can meet, with its default. Written by `make docs` from the code. "
        "[settings.md](settings.md) says how to change those that have a setting.",
        "",
        "## Of the service",
        "",
        "| limit | default | beyond it | setting |",
        "|---|---|---|---|",
    ]
    for words, value, code, setting in (
        ("one request body", _mib(default["max_body_bytes"]), "body_too_large", "max_body_bytes"),
        ("images in one request", default["max_images_per_request"], "too_many_images", "max_images_per_request"),
        ("one encoded image", _mib(default["max_image_bytes"]), "too_many_bytes", "max_image_bytes"),
        ("width × height of one image", f"{default['max_image_pixels']:,} px", "too_many_pixels", "max_image_pixels"),
        ("longer side of one image", f"{default['max_image_side_px']:,} px", "too_many_pixels", "max_image_side_px"),
        ("labels per image, `top_k`", f"1 to {MAX_TOP_K}, {DEFAULT_TOP_K} if not given", "invalid_parameter", ""),
        ("text fields of a form", MAX_FIELDS, "malformed_request", ""),
        ("time to send the body", f"{default['body_timeout_s']:g} s", "body_timeout", "body_timeout_s"),
        (
            "time from the last byte to the answer",
            f"{default['request_timeout_s']:g} s",
            "deadline_exceeded",
            "request_timeout_s",
        ),
        (
            "requests that a replica answers at a time",
            default["max_ongoing_requests"],
            "overloaded",
            "max_ongoing_requests",
        ),
        ("bytes of all bodies that a replica holds", _mib(default["max_held_bytes"]), "overloaded", "max_held_bytes"),
        ("images in a request for an explanation", 1, "too_many_images", ""),
        ("explanations that a replica answers at a time", 1, "explanation_busy", ""),
        ("time for an explanation", f"{default['explain_timeout_s']:g} s", "deadline_exceeded", "explain_timeout_s"),
        ("cells along a side, `cells`", f"{MIN_CELLS} to {MAX_CELLS}", "invalid_parameter", ""),
        ("input of `/convolve`", f"{MAX_INPUT_PX}×{MAX_INPUT_PX}, {MAX_CHANNELS} channels", "invalid_parameter", ""),
        ("kernel of `/convolve`", f"{MAX_KERNEL_PX}×{MAX_KERNEL_PX}", "invalid_parameter", ""),
        ("numbers of `/convolve`", f"-{MAX_VALUE:,.0f} to {MAX_VALUE:,.0f}", "invalid_parameter", ""),
        ("products in the steps of `/convolve`", f"{MAX_PRODUCTS:,}", "invalid_parameter", ""),
        ("body of `/convolve`", f"{MAX_BODY_BYTES // 1024} KiB", "body_too_large", ""),
    ):
        shown = f"`{PREFIX}{setting.upper()}`" if setting else "fixed"
        lines.append(f"| {words} | {value} | {PROBLEMS[code].status} `{code}` | {shown} |")
    return "\n".join([*lines, "", *_limits_of_the_edge()]) + "\n"


def _limits_of_the_edge() -> list[str]:
    edge = (ROOT / "deploy" / "edge" / "haproxy.cfg").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    seconds = {name: re.search(rf"timeout {name} +(\d+)s", edge)[1] for name in ("http-request", "client", "server")}  # type: ignore[index]
    own, everybody = (
        int(re.search(rf"{name}:-(\d+)", compose)[1])  # type: ignore[index]
        for name in ("EDGE_CONNECTIONS_PER_ADDRESS", "EDGE_CONNECTIONS")
    )
    return [
        "## Of the edge, under `docker compose`",
        "",
        "The limits of the service apply as well. [.env.example](../.env.example) says how to change the connections; "
        "the times are in [haproxy.cfg](../deploy/edge/haproxy.cfg).",
        "",
        "| limit | default | beyond it |",
        "|---|---|---|",
        f"| connections of one address | {own} | 429 `too_many_connections`; from {2 * own + 2} no answer |",
        f"| connections of all clients | {everybody} | they wait for one that closes |",
        f"| time to send all headers | {seconds['http-request']} s | 408, in HTML |",
        f"| pause while a body arrives | {seconds['client']} s | 400 `malformed_request` |",
        f"| time to the answer, as the last resort | {seconds['server']} s | 504 `deadline_exceeded` |",
    ]


def _mib(count: int) -> str:
    return f"{count / 2**20:g} MiB"


PAGES: Mapping[str, Callable[[], str]] = {
    "tree.md": tree,
    "settings.md": settings,
    "limits.md": limits,
    "openapi.json": openapi,
}


def main() -> None:
    """Writes every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        print(f"Written to docs/{name}.")


if __name__ == "__main__":
    main()
