"""The pages: whole from this service alone, wherever a reverse proxy publishes it, and strict with what may run."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from service.http.pages import PAGE, page_files
from tests.service.conftest import problem

ORIGIN = "http://sightline"
PAGES = ["/", "/docs"]
BELOW = {"root_path": "/vision"}
FILES = sorted(file.name for file in PAGE.iterdir() if file.suffix != ".html")
SWAGGER = ["swagger-ui.css", "swagger-ui-bundle.js"]
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
STATIC_IMPORT = re.compile(r'^(?:import|export)\b[^;"`]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"', re.MULTILINE)
DYNAMIC_IMPORT = re.compile(r"\bimport\(([^)]*)\)")
ASKED = re.compile(r"\b(?:ask|askPatiently|fetch)\(\s*([\"'`])(.*?)\1")


class Page(HTMLParser):
    """What a page refers to, and what it holds of its own.

    Attributes:
        references: what its attributes name, as they are written.
        inline: style and event attributes, and the texts of scripts and styles.
    """

    NAMING = frozenset(
        {"href", "src", "srcset", "action", "formaction", "data", "poster", "cite", "background", "manifest", "ping"}
    )

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self.tags: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.tags.append(tag)
        for name, value in attributes:
            if name in self.NAMING:
                self.references.append(value or "")
            if name == "style" or name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.inline.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)

    @property
    def files(self) -> list[str]:
        """The references that a browser asks the server for."""
        return [one for one in self.references if not one.startswith(("#", "data:"))]


def get(served, path: str, below: bool = False, **headers: str) -> httpx.Response:
    return served.request("GET", path, settings=BELOW if below else {}, headers=headers)


def page(served, path: str) -> Page:
    response = get(served, path)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return Page(response.text)


def policy(response: httpx.Response) -> dict[str, str]:
    (text,) = response.headers.get_list("content-security-policy")
    return {name: value for name, _, value in (part.strip().partition(" ") for part in text.split(";"))}


def code(name: str) -> str:
    return (PAGE / name).read_text()


def imports(name: str) -> Iterator[str]:
    """What a module imports, as it is written."""
    for pair in STATIC_IMPORT.findall(code(name)):
        yield from filter(None, pair)
    for expression in DYNAMIC_IMPORT.findall(code(name)):
        assert re.fullmatch(r'\s*"[^"]+"\s*', expression), f"{name} imports {expression}, which no test can follow"
        yield expression.strip().strip('"')


MODULES = [name for name in FILES if name.endswith(".js")]


@pytest.mark.parametrize("path", PAGES)
def test_every_file_that_a_page_names_is_there(served, path):
    named = page(served, path).files
    assert len(named) >= 3
    for reference in named:
        response = get(served, urlsplit(urljoin(ORIGIN + path, reference)).path)
        assert response.status_code == 200, reference
        assert response.content, reference


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_nothing_of_another_host_and_nothing_from_the_root(served, path):
    for reference in page(served, path).references:
        parts = urlsplit(reference)
        assert (parts.scheme in ("", "data"), parts.netloc) == (True, ""), reference
        assert not reference.startswith(("/", "\\")), f"{reference} leaves the path of a reverse proxy"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_no_script_and_no_style_of_its_own(served, path):
    found = page(served, path)
    assert found.inline == []
    assert {"base", "style", "iframe", "object", "embed", "form"}.isdisjoint(found.tags)


def test_no_file_of_ours_is_fetched_from_elsewhere():
    for name in FILES:
        if name.endswith((".js", ".css")):
            elsewhere = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+[^\s\"'`)]*", code(name)))
            assert elsewhere <= {"http://www.w3.org/2000/svg"}, name  # the name of SVG, not an address
            assert "@import" not in code(name), name


def test_the_pages_policy_lets_nothing_in(served):
    wanted = {"style-src": "'self'", "require-trusted-types-for": "'script'", "trusted-types": "'none'"}
    assert policy(get(served, "/")) == POLICY | wanted


def test_the_policy_of_the_documentation_lets_only_styles_in(served):
    """Swagger UI writes style attributes."""
    assert policy(get(served, "/docs")) == POLICY | {"style-src": "'self' 'unsafe-inline'"}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_asked_for_again_each_time(served, path):
    headers = get(served, path).headers
    assert headers.get_list("cache-control") == ["no-cache"]
    assert headers["etag"]
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", [f"/page/{name}" for name in FILES] + [f"/docs/swagger/{name}" for name in SWAGGER])
def test_a_file_is_sent_once_and_asked_for_again_each_time(served, path):
    first = get(served, path)
    assert first.status_code == 200
    kind = {"js": "text/javascript", "css": "text/css", "png": "image/png"}[path.rpartition(".")[2]]
    assert first.headers["content-type"].partition(";")[0] == kind  # else nosniff would refuse it
    assert first.headers.get_list("cache-control") == ["no-cache"]
    tag = first.headers["etag"]
    again = get(served, path, **{"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers.get_list("cache-control") == ["no-cache"]
    other = get(served, path, **{"if-none-match": '"0"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_the_whole_page_is_at_most_100_kb():
    """Everything that it can load, also what most visits never open; the sample photo is no part of the page."""
    files = {name: len(body) for name, (body, _) in page_files().items() if not name.startswith(("docs", "sample"))}
    total = sum(files.values()) + (PAGE / "index.html").stat().st_size
    print(f"\nthe page: {total} bytes")
    assert len(files) > 20
    assert total <= 100_000, sorted(files.items(), key=lambda one: -one[1])


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".js", ".css"))])
def test_a_file_is_sent_without_indentation_and_comments_but_otherwise_as_it_is(served, name):
    sent = get(served, f"/page/{name}").text
    assert not re.search(r"^\s|^//|^/\*|\n\n", sent, re.MULTILINE)
    lines = [line.strip() for line in code(name).splitlines()]
    assert [line for line in lines if line and not line.startswith(("//", "/*", "*"))] == [
        line for line in sent.splitlines() if not line.startswith("*")
    ]


@pytest.mark.parametrize("name", MODULES)
def test_no_text_of_a_module_spans_lines(name):
    """Indentation is not sent; within such a text it would be a part of it."""
    assert [line for line in code(name).splitlines() if line.count("`") % 2] == []


@pytest.mark.parametrize(
    "path",
    [
        "/redoc",
        "/docs/",
        "/docs/oauth2-redirect",
        "/docs/swagger",
        "/docs/swagger/",
        "/docs/swagger/nothing.js",
        "/page",
        "/page/",
        "/page/nothing.js",
        "/page/..%2fpages.py",
        "/page/%2e%2e/pages.py",
        "/page/%2e%2e%2fpages.py",
        "/page/..%5cpages.py",
        "/page//etc/passwd",
        "/page/%00",
        "/page/main.js%00",
        f"/page/{'a' * 5000}",
        "/index.html",
        "/favicon.ico",
    ],
)
def test_there_is_nothing_else(served, path):
    problem(get(served, path), 404, "not_found")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_its_neighbours_by_relative_names(name):
    for imported in imports(name):
        assert re.fullmatch(r"\./[a-z]+\.js", imported), f"{name} imports {imported}"
        assert imported.removeprefix("./") in FILES, f"{name} imports {imported}, which is not there"


def test_every_module_is_reached_from_a_page(served):
    """None is left over, and none is found by another way than those that the tests follow."""
    named = {one.removeprefix("page/") for path in PAGES for one in page(served, path).files}
    reached: set[str] = set()
    waiting = [name for name in named if name in MODULES]
    assert {"main.js", "docs.js"} == set(waiting)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [imported.removeprefix("./") for imported in imports(name)]
    assert reached == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_asks_only_for_relative_paths(name):
    for _, asked in ASKED.findall(code(name)):
        assert not asked.startswith(("/", "http")), f"{name} asks for {asked}"


def test_the_server_of_the_description_is_the_path_of_the_proxy(served):
    assert get(served, "/openapi.json", below=True).json()["servers"] == [{"url": "/vision"}]
    assert "servers" not in get(served, "/openapi.json").json()


@pytest.mark.parametrize("path", PAGES)
def test_behind_a_proxy_that_removes_its_path_every_file_is_there(served, path):
    """A browser at https://host/vision/ asks for /vision/page/main.js, and the service gets /page/main.js."""
    response = get(served, path, below=True)
    assert response.status_code == 200
    assert response.text == get(served, path).text
    for reference in Page(response.text).files:
        asked = urlsplit(urljoin("https://host/vision" + path, reference)).path
        assert asked.startswith("/vision/"), reference
        assert get(served, asked.removeprefix("/vision"), below=True).status_code == 200, reference


@pytest.mark.parametrize("path", ["/health/live", "/models", "/filters", "/models/digits/1/report"])
def test_behind_a_proxy_that_removes_its_path_every_answer_is_the_same(served, path):
    assert get(served, path, below=True).content == get(served, path).content


def test_behind_a_proxy_a_method_that_is_not_taken_is_told_those_that_are(served):
    response = get(served, "/classify", below=True)
    problem(response, 405, "method_not_allowed")
    assert sorted(response.headers["allow"].split(", ")) == ["OPTIONS", "POST", "PUT"]
