"""The HTML: the page at /, and Swagger UI at /docs. Nothing in them is fetched from elsewhere."""

import re
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse

from service.http.files import ValidatedFiles, unchanged_or

PAGE = Path(__file__).parent / "page"
_BASE = (
    "default-src 'none'; script-src 'self'; img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; "
)
_PAGE_POLICY = _BASE + "style-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
# Swagger UI writes style attributes and parses HTML.
_DOCS_POLICY = _BASE + "style-src 'self' 'unsafe-inline'"

# Indentation, empty lines, and comments that have lines of their own: an eighth of the page.
_UNSENT = re.compile(r"^[ \t]*(?://[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/\n|\n)?", re.MULTILINE)


def add_pages(api: FastAPI) -> None:
    """GET /, GET /docs, and the files that they name."""
    served = page_files()

    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return _html("index.html", _PAGE_POLICY)

    @api.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return _html("docs.html", _DOCS_POLICY)

    @api.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str, request: Request) -> Response:
        if name not in served:
            raise HTTPException(404)
        return unchanged_or(request, *served[name])

    api.mount("/docs/swagger", ValidatedFiles(directory=str(files("fastapi_offline") / "static")))


def page_files() -> dict[str, tuple[bytes, str]]:
    """What the page loads, by file name: the bytes as they are sent, and their media type.

    Scripts and styles are sent line by line as they are written, so that an error in the browser shows our code.
    """
    kinds = {"*.js": "text/javascript; charset=utf-8", "*.css": "text/css; charset=utf-8"}
    served = {
        file.name: (_UNSENT.sub("", file.read_text("utf-8")).encode(), kind)
        for pattern, kind in kinds.items()
        for file in PAGE.glob(pattern)
    }
    return served | {file.name: (file.read_bytes(), "image/png") for file in PAGE.glob("*.png")}


def _html(name: str, policy: str) -> FileResponse:
    return FileResponse(PAGE / name, headers={"content-security-policy": policy, "cache-control": "no-cache"})
