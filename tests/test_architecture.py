"""Who may import whom, and how large a file, a function and a class may become: what docs/architecture.md draws."""

import ast
import inspect
import re
import statistics
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vision", "training", "service", "loadtests")
PRODUCT = ("vision", "training", "service")
# Each package may import from itself and from those in its set.
ACROSS = {
    "vision": set(),
    "training": {"vision"},
    "service": {"vision"},
    "sightline": {"vision", "service", "training"},
    "loadtests": {"vision", "service", "training", "deploy"},
}
# Within a package a module may import from its own row, if that is marked, and from every row below it.
LAYERS = {
    "service": (
        ("service.__main__",),
        ("service.local",),
        ("service.app",),
        ("service.ray",),
        ("service.http",),
        ("service.explanation",),
        ("service.model",),
        ("service.observability",),
        ("service.settings",),
        ("service.errors",),
    ),
    "training": (
        ("training.__main__",),
        ("training.options",),
        ("training.commands",),
        ("training.distributed",),
        ("training.fitting",),
        ("training.config",),
        ("training.loop", "training.export"),
        ("training.data", "training.evaluation"),
        ("training.progress",),
    ),
}
# Libraries that a whole package must not import.
FORBIDDEN = {
    "vision": {"ray", "fastapi", "starlette", "uvicorn", "rich"},
    "training": {"fastapi"},
    "service": {"torch", "torchvision"},
    "service/http": {"ray", "openvino"},
    "service/explanation": {"ray", "fastapi", "starlette"},
    "service/model": {"ray", "fastapi", "starlette", "pydantic"},
    "service/observability": {"ray", "fastapi"},
}
# Files that may import what the rest of the product may not.
ONLY_HERE = {
    "ray": {
        "service/app.py",
        "service/local/cluster.py",
        "service/ray/bridge.py",
        "service/ray/scaling.py",
        "training/distributed.py",
    },
    "openvino": {"vision/engines/openvino_library.py"},
    "onnxruntime": {"training/export/checked_engines.py"},
    "nncf": {"training/export/conversion.py"},
}
# Imported by a replica that serves through OpenVINO, which must not pay for torch.
TORCH_FREE = {
    "vision/errors.py",
    "vision/geometry.py",
    "vision/hardware.py",
    "vision/image.py",
    "vision/preprocessing.py",
    "vision/prediction.py",
    "vision/classification.py",
    "vision/bundle/baseline.py",
    "vision/bundle/golden.py",
    "vision/bundle/manifest.py",
    "vision/bundle/numbers.py",
    "vision/bundle/store.py",
    "vision/bundle/worst.py",
    "vision/color.py",
    "vision/convolution.py",
    "vision/explanation.py",
    "vision/engines/engine.py",
    "vision/engines/host.py",
    "vision/engines/openvino_engine.py",
    "vision/engines/openvino_graph.py",
    "vision/engines/openvino_library.py",
    "vision/engines/openvino_taps.py",
    "vision/engines/selection.py",
    "vision/engines/taps.py",
}
MAX_MEDIAN_LINES = 100
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 10


def sources(*packages: str) -> list[Path]:
    """Our own files; the peers of the benchmark are other projects' examples, each in an environment of its own."""
    found = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    return sorted(file for file in found if "peers" not in file.parts and ".cache" not in file.parts)


def module_of(file: Path) -> str:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(file): file for file in (*sources(*PACKAGES), ROOT / "sightline.py")}


def imports(file: Path) -> set[str]:
    """Names of everything that a file imports anywhere, for types too: our modules, and libraries by their root."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {_known(name) for name in found}


def _known(name: str) -> str:
    while name and name not in MODULES:
        shorter = name.rpartition(".")[0]
        if not shorter:
            return name
        name = shorter
    return name


IMPORTS = {name: imports(file) for name, file in MODULES.items()}


def test_packages_import_only_what_they_may() -> None:
    for name, imported in IMPORTS.items():
        package = name.split(".")[0]
        for other in imported:
            root = other.split(".")[0]
            if root in (*PACKAGES, "sightline", "deploy", "tests"):
                assert root == package or root in ACROSS[package], f"{name} imports {other}"


def row_of(package: str, name: str) -> int:
    (row,) = (
        index
        for index, names in enumerate(LAYERS[package])
        if any(name == one or name.startswith(f"{one}.") for one in names)
    )
    return row


@pytest.mark.parametrize("package", LAYERS)
def test_modules_import_downwards_only(package: str) -> None:
    for name in (module for module in MODULES if module.startswith(f"{package}.")):
        folder = ".".join(name.split(".")[:2])
        for other in (found for found in IMPORTS[name] if found.startswith(f"{package}.")):
            if not (other == folder or other.startswith(f"{folder}.")):
                assert row_of(package, name) < row_of(package, other), f"{name} imports {other}"


def test_no_module_imports_itself_through_others() -> None:
    """Imports for types only are counted too."""
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join((*above[above.index(name) :], name))
        if name in finished:
            return
        for other in sorted(IMPORTS[name] & MODULES.keys() - {name}):
            visit(other, (*above, name))
        finished.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_does_without_these_libraries(folder: str) -> None:
    for file in sources(folder):
        roots = {name.split(".")[0] for name in imports(file)}
        allowed = {library for library, files in ONLY_HERE.items() if str(file.relative_to(ROOT)) in files}
        assert not roots & (FORBIDDEN[folder] - allowed), file


@pytest.mark.parametrize("library", ONLY_HERE)
def test_a_library_stays_in_its_files(library: str) -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in sources(*PRODUCT)
        if library in {name.split(".")[0] for name in imports(file)}
    }
    assert found == ONLY_HERE[library]


def test_what_a_replica_imports_knows_no_torch() -> None:
    for name in TORCH_FREE:
        assert not {found.split(".")[0] for found in imports(ROOT / name)} & {"torch", "torchvision"}, name


def test_nothing_of_the_product_imports_the_load_tests() -> None:
    assert not any("loadtests" in found for name in MODULES if name.split(".")[0] in PRODUCT for found in IMPORTS[name])


def test_the_median_file_is_short() -> None:
    lines = [len(file.read_text().splitlines()) for file in MODULES.values()]
    assert statistics.median(lines) <= MAX_MEDIAN_LINES


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_no_function_is_long() -> None:
    for file in MODULES.values():
        for node in functions(file):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{file}:{node.lineno} {node.name}"


def test_no_class_takes_many_parameters() -> None:
    """Settings and documents made by pydantic are data, not parameters."""
    from pydantic import BaseModel

    for name in (module for module in MODULES if not module.startswith(("loadtests", "sightline"))):
        for kind in vars(import_module(name)).values():
            if inspect.isclass(kind) and kind.__module__ == name and not issubclass(kind, BaseModel):
                count = len(inspect.signature(kind.__init__).parameters) - 1
                assert count <= MAX_PARAMETERS, f"{name}.{kind.__name__} has {count}"


def test_nothing_unpickles_or_evaluates() -> None:
    calls = re.compile(r"\b(pickle|marshal|shelve|joblib|dill)\b|torch\.(load|jit)\b|(?<![\w.])(eval|exec)\(")
    for file in sources(*PRODUCT):
        code = ast.unparse(_without_docstrings(file))
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
    for file in sources(*PRODUCT):
        for node in ast.parse(file.read_text()).body:
            assert isinstance(node, allowed), f"{file}:{node.lineno}"
            if isinstance(node, ast.Expr):
                assert isinstance(node.value, ast.Constant), f"{file}:{node.lineno}: a call at import"
            if isinstance(node, ast.If):
                assert ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"), f"{file}:{node.lineno}"


def _without_docstrings(file: Path) -> ast.Module:
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
