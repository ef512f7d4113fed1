"""Who learns, who chooses, who reports: decided by content, so that a growing data set keeps its test images apart."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.folder import PARTS, DataError, LabelledFile
from training.data.splitting import SplitRule, check_complete, choose_parts, fingerprint

SHARES = (0.15, 0.2)
DIGESTS = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=40)
# Nothing is kept between runs, and a slow machine is no failure.
quick = settings(database=None, deadline=None, max_examples=60)


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def parts_of(
    digests: list[str], seed: int = 0, shares: tuple[float, float] = SHARES, names: str = "cat/{}.png"
) -> list[str]:
    files = [LabelledFile(names.format(index), "cat") for index in range(len(digests))]
    return choose_parts(files, digests, SplitRule(seed, *shares))


@quick
@given(DIGESTS, DIGESTS, st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_files_added_anywhere_move_no_other(
    there: list[str], added: list[str], seed: int, order: random.Random
) -> None:
    before = dict(zip(there, parts_of(there, seed), strict=True))
    grown = there + added
    order.shuffle(grown)
    after = dict(zip(grown, parts_of(grown, seed), strict=True))
    assert {name: after[name] for name in before} == before


@quick
@given(DIGESTS, st.floats(0.01, 0.4), st.floats(0.01, 0.4), st.floats(0, 0.1))
def test_a_larger_share_only_takes_from_train(
    digests: list[str], val_share: float, test_share: float, more: float
) -> None:
    before = parts_of(digests, shares=(val_share, test_share))
    larger_val = parts_of(digests, shares=(val_share + more, test_share))
    larger_test = parts_of(digests, shares=(val_share, test_share + more))
    assert all(new == old or (old, new) == ("train", "val") for old, new in zip(before, larger_val, strict=True))
    assert all(new == "test" for old, new in zip(before, larger_test, strict=True) if old == "test")


def test_the_choice_is_the_same_in_every_version() -> None:
    chosen = "train val train train train test val train test train test val train train val val"
    assert parts_of([digest(index) for index in range(16)], seed=7, shares=(0.2, 0.2)) == chosen.split()


def test_each_category_gives_about_the_shares_asked_for() -> None:
    categories = ("10", "2", "ant", "bee")
    files = [LabelledFile(f"{category}/{index}.png", category) for category in categories for index in range(4000)]
    parts = choose_parts(files, [digest(file.path) for file in files], SplitRule(0, 0.15, 0.2))
    for category in categories:
        its_parts = [part for file, part in zip(files, parts, strict=True) if file.category == category]
        for part, share in (("train", 0.65), ("val", 0.15), ("test", 0.2)):
            deviation = (share * (1 - share) / 4000) ** 0.5
            assert its_parts.count(part) / 4000 == pytest.approx(share, abs=4 * deviation)


def test_another_seed_is_another_split_that_knows_nothing_of_the_first() -> None:
    digests = [digest(index) for index in range(5000)]
    first, again, other = (parts_of(digests, seed) for seed in (1, 1, 2))
    assert first == again
    in_both = sum(one == two == "test" for one, two in zip(first, other, strict=True))
    assert in_both / first.count("test") == pytest.approx(0.2, abs=0.05)


def test_names_and_categories_of_files_do_not_matter_and_copies_land_together() -> None:
    digests = [digest(index % 50) for index in range(100)]
    parts = parts_of(digests)
    assert parts_of(digests, names="dog/renamed-{}.jpeg") == parts
    assert parts[:50] == parts[50:]


def grouped(pattern: str, paths: list[str], seed: int = 0) -> dict[str, str]:
    files = [LabelledFile(path, path.split("/")[0]) for path in paths]
    return dict(
        zip(
            paths, choose_parts(files, [digest(path) for path in paths], SplitRule(seed, *SHARES, pattern)), strict=True
        )
    )


PATIENTS = [
    f"{category}/{side}-patient-{patient}-{shot}.png"
    for category in ("ill", "well")
    for side in "lr"
    for patient in range(60)
    for shot in "ab"
]


@pytest.mark.parametrize("pattern", [r"patient-\d+", r"[lr]-patient-(\d+)-[ab]", r"(?P<who>\d+)-"])
def test_files_of_a_group_stay_together_by_the_first_group_or_the_whole_match(pattern: str) -> None:
    parts = grouped(pattern, PATIENTS)
    of_patient = {
        patient: {part for path, part in parts.items() if f"patient-{patient}-" in path} for patient in range(60)
    }
    assert all(len(found) == 1 for found in of_patient.values())
    assert set(parts.values()) == set(PARTS)


def test_the_whole_match_tells_groups_apart_where_the_first_group_would_not() -> None:
    parts = grouped(r"[lr]-patient-\d+", PATIENTS)
    assert any(parts[path] != parts[path.replace("/l-", "/r-")] for path in PATIENTS)


def test_a_group_is_drawn_by_its_name_alone() -> None:
    few = grouped(r"patient-\d+", PATIENTS[::7])
    assert few == {path: part for path, part in grouped(r"patient-\d+", PATIENTS).items() if path in few}
    assert grouped(r"patient-\d+", PATIENTS, seed=1) != grouped(r"patient-\d+", PATIENTS)


def test_what_is_no_expression_and_a_path_that_does_not_match_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"--group-by '\(' is not a regular expression: missing \)"):
        grouped("(", PATIENTS)
    with pytest.raises(DataError, match=r"--group-by 'patient' does not match well/stray\.png"):
        grouped("patient", [*PATIENTS, "well/stray.png"])


def test_the_part_that_a_folder_says_wins_over_the_hash_and_needs_no_group() -> None:
    files = [LabelledFile(f"{part}/cat/{index}.png", "cat", part) for part in PARTS for index in range(20)]
    digests = [digest(file.path) for file in files]
    for pattern in (None, "matches nothing"):
        assert choose_parts(files, digests, SplitRule(0, *SHARES, pattern)) == [file.part for file in files]


def test_every_category_missing_in_a_part_is_named_with_the_part_and_a_remedy() -> None:
    files = [LabelledFile(f"{category}/{index}", category) for category in ("ant", "bee", "cat") for index in range(3)]
    parts = ["train", "val", "test", "train", "train", "val", "test", "test", "train"]
    with pytest.raises(DataError) as refused:
        check_complete(files, parts, ["ant", "bee", "cat"])
    message = str(refused.value)
    assert "'cat' has no image in val; 'bee' has no image in test. " in message
    assert "ant" not in message
    assert all(
        remedy in message
        for remedy in ("Add images", "--val-share", "--test-share", "--seed", "train/, val/ and test/")
    )
    check_complete(files[:3], parts[:3], ["ant"])


def test_the_fingerprint_follows_content_category_and_part_but_neither_names_nor_order() -> None:
    files = [LabelledFile("cat/a.png", "cat"), LabelledFile("cat/b.png", "cat"), LabelledFile("dog/a.png", "dog")]
    digests = [digest(index) for index in range(3)]
    plain, with_parts = fingerprint(files, digests), fingerprint(files, digests, PARTS)

    renamed = [LabelledFile(f"{file.category}/new/{index}.jpg", file.category) for index, file in enumerate(files)]
    assert fingerprint(renamed, digests) == plain
    assert fingerprint(files[::-1], digests[::-1]) == plain
    assert fingerprint(files[::-1], digests[::-1], PARTS[::-1]) == with_parts

    moved = [LabelledFile("dog/a.png", "dog"), *files[1:]]
    others = [
        fingerprint(moved, digests),
        fingerprint(files, [digest("changed"), *digests[1:]]),
        fingerprint(files[:2], digests[:2]),
        fingerprint([*files, files[0]], [*digests, digests[0]]),
        fingerprint(files, digests, ("val", "train", "test")),
    ]
    assert len({plain, with_parts, *others}) == 7
    assert len(plain) == 64
