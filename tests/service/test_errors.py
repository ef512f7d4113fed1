"""The one table from error to status, and what the docstrings say of it."""

import re

import pytest

import service.errors
import service.local.ports
from service.errors import PROBLEMS, DeadlineExceeded, RequestError
from vision.errors import CorruptImage, ImageError, SightlineError

_ROW = re.compile(r"[├└]── (?P<name>\w+) +(?P<code>\w+) +(?P<status>\d{3})  \S")
DOCUMENTED = [match.groups() for match in _ROW.finditer(service.errors.__doc__)]


def below(kind: type[SightlineError]) -> list[type[SightlineError]]:
    return [one for child in kind.__subclasses__() for one in (child, *below(child))]


REQUEST_ERRORS = [kind for kind in below(RequestError) if kind.__module__ == "service.errors"]
ERRORS = [*REQUEST_ERRORS, *below(ImageError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_that_a_request_can_meet_has_a_row(kind):
    assert PROBLEMS[kind.code].title
    assert kind.__doc__


def test_every_request_error_is_in_the_docstring_and_the_other_way_round():
    assert sorted(name for name, *_ in DOCUMENTED) == sorted(kind.__name__ for kind in REQUEST_ERRORS)


@pytest.mark.parametrize(("name", "code", "status"), DOCUMENTED)
def test_codes_and_statuses_are_what_the_docstring_says(name, code, status):
    assert getattr(service.errors, name).code == code
    assert PROBLEMS[code].status == int(status)


def test_every_row_is_an_errors_the_frameworks_or_the_edges():
    others = {"method_not_allowed", "internal_error", "too_many_connections"}
    assert others.isdisjoint(kind.code for kind in ERRORS)
    assert set(PROBLEMS) == {kind.code for kind in ERRORS} | others


def test_codes_are_unique_among_all_errors():
    kinds = [kind for kind in below(SightlineError) if kind.__module__.startswith(("vision.", "service."))]
    assert {service.local.ports.PortTaken, *ERRORS} < set(kinds)
    codes = [kind.code for kind in kinds if kind not in (RequestError, ImageError)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z][a-z_]+", code) for code in codes)


@pytest.mark.parametrize("code", PROBLEMS)
def test_only_what_passes_by_itself_says_when_to_come_again(code):
    kind = PROBLEMS[code]
    assert (kind.retry_after_s is not None) == (kind.status in (429, 503))
    assert 400 <= kind.status < 600
    assert kind.title
    assert not kind.title.endswith(".")
    assert kind.remedy.endswith(".")


def test_titles_tell_the_kinds_apart():
    assert len({kind.title for kind in PROBLEMS.values()}) == len(PROBLEMS)


def test_an_image_is_to_blame_with_4xx_and_a_late_answer_with_5xx():
    assert PROBLEMS[CorruptImage.code].status < 500 <= PROBLEMS[DeadlineExceeded.code].status
    assert {PROBLEMS[kind.code].status // 100 for kind in below(ImageError)} == {4}
