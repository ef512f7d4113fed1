"""A classification: ranks, the best label, and the names of the stages."""

import numpy as np

from vision.classification import STAGES, Classification, ModelId, Timings

MODEL = ModelId("animals", 3, "0123456789ab")


def classification(*scores: float) -> Classification:
    return Classification(MODEL, ("ant", "bee", "cat"), np.array(scores), 40, 30, Timings())


def test_the_best_label_is_the_most_probable_one_and_the_first_of_equal_ones() -> None:
    assert classification(0.1, 0.7, 0.2).best == ("bee", 0.7)
    assert classification(0.2, 0.4, 0.4).best == ("bee", 0.4)


def test_top_ranks_and_gives_no_more_than_there_are() -> None:
    assert [label for label, _ in classification(0.1, 0.7, 0.2).top(2)] == ["bee", "cat"]
    assert [label for label, _ in classification(0.1, 0.7, 0.2).top(9)] == ["bee", "cat", "ant"]


def test_the_stages_are_those_that_clients_metrics_and_traces_name() -> None:
    assert STAGES == ("queue", "decode", "preprocess", "inference", "postprocess")
