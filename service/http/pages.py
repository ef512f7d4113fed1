"""The HTML: the page at /, and Swagger UI at /docs. Nothing in them is fetched from elsewhere."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

from service.http.files import ValidatedFiles

PAGE = Path(__file__).parent / "page"
_BASE = (
    "default-src 'none'; script-src 'self'; img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; "
)
_PAGE_POLICY = _BASE + "style-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
# Swagger UI writes style attributes and parses HTML.
_DOCS_POLICY = _BASE + "style-src 'self' 'unsafe-inline'"


def add_pages(api: FastAPI) -> None:
    """GET /, GET /docs, and the files that they name."""

    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return _html("index.html", _PAGE_POLICY)

    @api.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return _html("docs.html", _DOCS_POLICY)

    api.mount("/page", ValidatedFiles(directory=PAGE))
    api.mount("/docs/swagger", ValidatedFiles(directory=str(files("fastapi_offline") / "static")))


def _html(name: str, policy: str) -> FileResponse:
    return FileResponse(PAGE / name, headers={"content-security-policy": policy, "cache-control": "no-cache"})
