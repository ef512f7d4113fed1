"""Who may import whom: the directions that docs/architecture.md draws."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vision", "training", "service")
FORBIDDEN = {
    "vision": {"training", "service", "ray", "fastapi", "starlette", "uvicorn", "rich"},
    "training": {"service", "fastapi"},
    "service": {"training", "torch", "torchvision"},
}
# Files that may know what the rest of their package may not.
ONLY_HERE = {
    "ray": {
        "service/app.py",
        "service/local/cluster.py",
        "service/observability/metrics.py",
        "service/ray/scaling.py",
        "training/distributed.py",
    },
    "openvino": {"vision/engines/openvino_library.py"},
    "onnxruntime": {"training/export/checked_engines.py"},
    "nncf": {"training/export/conversion.py"},
}
# They are imported by a replica that serves through OpenVINO, which must never pay for torch.
TORCH_FREE = {
    "vision/errors.py",
    "vision/geometry.py",
    "vision/image.py",
    "vision/preprocessing.py",
    "vision/prediction.py",
    "vision/bundle/manifest.py",
    "vision/bundle/golden.py",
    "vision/bundle/store.py",
    "vision/engines/__init__.py",
    "vision/engines/host.py",
    "vision/engines/openvino_engine.py",
    "vision/engines/openvino_library.py",
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """The top-level names of everything that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: a relative import"
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_in_the_drawn_direction(package: str) -> None:
    for file in sources(package):
        assert not imported(file) & FORBIDDEN[package], f"{file} imports what {package} must not know"


@pytest.mark.parametrize("library", ONLY_HERE)
def test_a_library_stays_in_its_files(library: str) -> None:
    found = {
        str(file.relative_to(ROOT)) for package in PACKAGES for file in sources(package) if library in imported(file)
    }
    assert found == ONLY_HERE[library]


def test_what_a_replica_imports_knows_no_torch() -> None:
    for name in TORCH_FREE:
        assert not imported(ROOT / name) & {"torch", "torchvision"}, name


def test_nothing_unpickles_or_evaluates() -> None:
    calls = re.compile(r"\b(pickle|marshal|shelve|joblib|dill)\b|torch\.(load|jit)\b|(?<![\w.])(eval|exec)\(")
    for package in PACKAGES:
        for file in sources(package):
            code = "\n".join(line for line in ast.unparse(_without_docstrings(file)).splitlines())
            assert not calls.search(code), f"{file}: {calls.search(code)}"


def test_importing_a_package_does_nothing() -> None:
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
        ast.If,
        ast.Expr,
    )
    for package in PACKAGES:
        for file in sources(package):
            for node in ast.parse(file.read_text()).body:
                assert isinstance(node, allowed), f"{file}:{node.lineno}"
                if isinstance(node, ast.Expr):
                    assert isinstance(node.value, ast.Constant), f"{file}:{node.lineno}: a call at import"
                if isinstance(node, ast.If):
                    assert ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"), (
                        f"{file}:{node.lineno}"
                    )


def _without_docstrings(file: Path) -> ast.Module:
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
