import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from vision.convolution import (
    FILTERS,
    average_pool,
    conv2d,
    convolution_steps,
    global_average_pool,
    max_pool,
    output_size,
    parameter_count,
    receptive_field,
)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def padded(images: np.ndarray, kernel: int, stride: int, fill: float) -> torch.Tensor:
    """TensorFlow's SAME, written another way: as little padding as covers everything, more of it at the end."""
    pads: list[int] = []
    for side in (images.shape[2], images.shape[1]):
        total = max(0, kernel - stride) if side % stride == 0 else max(0, kernel - side % stride)
        pads += [total // 2, total - total // 2]
    return functional.pad(torch.from_numpy(images), pads, value=fill)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "height", "width"), [(1, 5, 6), (3, 9, 8), (4, 11, 7), (5, 32, 31)])
def test_convolution_is_torchs(kernel: int, height: int, width: int, stride: int, padding: str) -> None:
    images, kernels, bias = drawn(3, height, width), drawn(4, 3, kernel, kernel), drawn(4)
    source = padded(images, kernel, stride, 0.0) if padding == "same" else torch.from_numpy(images)
    expected = functional.conv2d(source[None], torch.from_numpy(kernels), torch.from_numpy(bias), stride)[0].numpy()
    assert np.allclose(conv2d(images, kernels, bias, stride, padding), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [0, 1, 2, 3])
@pytest.mark.parametrize("kernel", range(1, 8))
def test_a_number_as_padding_is_torchs(kernel: int, padding: int, channels: int) -> None:
    images, kernels, bias = drawn(channels, 9, 12), drawn(4, channels, kernel, kernel), drawn(4)
    source = torch.from_numpy(images)[None], torch.from_numpy(kernels), torch.from_numpy(bias)
    for stride in (1, 2, 3):
        expected = functional.conv2d(*source, stride, padding)[0].numpy()
        answer = conv2d(images, kernels, bias, stride, padding)
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() < 1e-12
        assert tuple(output_size(side, kernel, stride, padding) for side in (9, 12)) == expected.shape[1:]


def test_the_window_need_not_be_square() -> None:
    images, kernels = drawn(2, 9, 8), drawn(3, 2, 2, 5)
    expected = functional.conv2d(torch.from_numpy(images)[None], torch.from_numpy(kernels), None, 2, 2)[0].numpy()
    assert np.allclose(conv2d(images, kernels, None, 2, 2), expected, atol=1e-12)


def test_no_padding_is_the_number_0() -> None:
    images, kernels = drawn(2, 7, 8), drawn(3, 2, 3, 3)
    assert np.array_equal(conv2d(images, kernels, padding=0), conv2d(images, kernels, padding="valid"))


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 1), (3, 2, 1), (3, 1, 1), (5, 3, 2), (4, 4, 0)])
def test_pooling_with_a_number_as_padding_is_torchs(size: int, stride: int, padding: int) -> None:
    images = drawn(3, 10, 13)
    source = torch.from_numpy(images)[None]
    largest = functional.max_pool2d(source, size, stride, padding)[0].numpy()
    mean = functional.avg_pool2d(source, size, stride, padding, count_include_pad=False)[0].numpy()
    assert np.array_equal(max_pool(images, size, stride, padding), largest)
    assert np.allclose(average_pool(images, size, stride, padding), mean, atol=1e-12)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3)])
def test_pooling_is_torchs(size: int, stride: int, padding: str) -> None:
    images = drawn(3, 10, 13)
    source = padded(images, size, stride, -np.inf) if padding == "same" else torch.from_numpy(images)
    assert np.array_equal(
        max_pool(images, size, stride, padding), functional.max_pool2d(source[None], size, stride)[0].numpy()
    )
    if padding == "valid":
        expected = functional.avg_pool2d(source[None], size, stride)[0].numpy()
    else:  # torch counts the padding; a mean of ones tells how many pixels each window really has
        zeros, ones = padded(images, size, stride, 0.0), padded(np.ones_like(images), size, stride, 0.0)
        expected = (functional.avg_pool2d(zeros[None], size, stride) / functional.avg_pool2d(ones[None], size, stride))[
            0
        ].numpy()
    assert np.allclose(average_pool(images, size, stride, padding), expected, atol=1e-12)
    assert np.allclose(global_average_pool(images), torch.from_numpy(images).mean(dim=(1, 2)).numpy())


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "size"),
    [
        (28, 5, 1, "valid", 24),
        (224, 3, 1, "valid", 222),
        (32, 3, 2, "same", 16),
        (32, 5, 2, "valid", 14),
        (7, 7, 3, "valid", 1),
        (224, 7, 2, 3, 112),  # ResNet's first layer
        (224, 11, 4, 2, 55),  # AlexNet's
        (28, 5, 1, 2, 28),
        (1, 3, 1, 1, 1),
    ],
)
def test_worked_output_sizes(side: int, kernel: int, stride: int, padding: str | int, size: int) -> None:
    assert output_size(side, kernel, stride, padding) == size
    assert conv2d(np.ones((1, side, side)), np.ones((1, 1, kernel, kernel)), None, stride, padding).shape == (
        1,
        size,
        size,
    )


def test_worked_parameters_receptive_fields_and_pooling() -> None:
    assert parameter_count(3, 32, 64) == 18_496 == sum(p.numel() for p in torch.nn.Conv2d(32, 64, 3).parameters())
    assert receptive_field([(3, 1)] * 3) == 7
    assert receptive_field([(3, 2), (3, 1)]) == 7
    table = np.array([[[1, 3, 2, 4], [5, 6, 1, 2], [3, 2, 8, 1], [4, 7, 3, 9]]], dtype=float)
    assert max_pool(table, 2).tolist() == [[[6, 4], [7, 9]]]


def test_the_receptive_field_is_what_really_reaches_an_output() -> None:
    layers = [(3, 2), (5, 1), (3, 2)]
    image = torch.zeros(1, 1, 41, 41, requires_grad=True)
    features = image
    for kernel, stride in layers:
        features = functional.conv2d(features, torch.ones(1, 1, kernel, kernel), stride=stride)
    features[0, 0, 3, 3].backward()
    assert int((image.grad[0, 0].sum(dim=0) != 0).sum()) == receptive_field(layers)


@pytest.mark.parametrize(("stride", "padding"), [(1, "valid"), (2, "same"), (1, 1), (3, 2)])
def test_the_steps_add_up_to_the_convolution(stride: int, padding: str | int) -> None:
    image, kernel = drawn(6, 7), FILTERS["sobel_x"].kernel
    answer = conv2d(image[None], kernel[None, None], None, stride, padding)[0]
    steps = list(convolution_steps(image, kernel, stride, padding))
    assert len(steps) == answer.size
    for step in steps:
        assert np.array_equal(step.products, step.region * kernel)
        assert step.total == pytest.approx(answer[step.row, step.column])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("stride", "padding"), [(1, "valid"), (2, "same"), (2, 1), (3, 3)])
def test_steps_with_channels_come_row_by_row_and_sum_over_the_channels(
    channels: int, stride: int, padding: str | int
) -> None:
    image, kernel = drawn(channels, 7, 6), drawn(channels, 3, 3)
    answer = conv2d(image, kernel[None], None, stride, padding)[0]
    steps = list(convolution_steps(image, kernel, stride, padding))
    assert [(step.row, step.column) for step in steps] == list(np.ndindex(answer.shape))
    for step in steps:
        assert step.region.shape == step.products.shape == kernel.shape
        assert np.array_equal(step.products, step.region * kernel)
        assert step.total == pytest.approx(step.products.sum(), abs=1e-12)
        assert step.total == pytest.approx(answer[step.row, step.column], abs=1e-12)


def test_a_step_shows_the_pixels_under_the_kernel_and_zeros_beyond_the_image() -> None:
    image = np.arange(1.0, 13).reshape(3, 4)
    steps = {(step.row, step.column): step.region.tolist() for step in convolution_steps(image, np.ones((3, 3)), 1, 1)}
    assert steps[0, 0] == [[0, 0, 0], [0, 1, 2], [0, 5, 6]]
    assert steps[1, 2] == [[2, 3, 4], [6, 7, 8], [10, 11, 12]]
    assert steps[2, 3] == [[7, 8, 0], [11, 12, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_is_3_by_3_and_says_what_it_does(name: str) -> None:
    kernel, does = FILTERS[name]
    assert kernel.shape == (3, 3)
    assert does.endswith(".")
    keeps = {"identity", "sharpen", "box_blur", "gaussian_blur", "emboss"}
    assert kernel.sum() == pytest.approx(1.0 if name in keeps else 0.0), (
        "even areas keep their brightness, or give no answer"
    )


def test_edges_answer_to_their_own_direction_only() -> None:
    step = np.zeros((5, 6))
    step[:, 3:] = 1
    for name, image in (("vertical_edge", step), ("sobel_x", step), ("horizontal_edge", step.T), ("sobel_y", step.T)):
        kernel = FILTERS[name].kernel[None, None]
        assert conv2d(image[None], kernel).max() > 0
        assert not conv2d(image.T[None], kernel).any()


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="kernel_px is 5"):
        output_size(4, 5)
    with pytest.raises(ValueError, match="stride is 0"):
        output_size(4, 3, 0)
    with pytest.raises(ValueError, match=r"\(2, 4, 4\) and \(1, 3, 3, 3\)"):
        conv2d(np.ones((2, 4, 4)), np.ones((1, 3, 3, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "side_px is 0; it must be at least 1."),
        ((4, 0), "kernel_px is 0; it must be at least 1."),
        ((4, 3, -1), "stride is -1; it must be at least 1."),
        ((4, 3, 1, -1), "padding is -1; it must be at least 0."),
        ((4, 5), "kernel_px is 5; with padding 'valid' it must fit into the side of 4 px."),
        ((4, 5, 1, 0), "kernel_px is 5; with padding 0 it must fit into the side of 4 px."),
        ((4, 9, 1, 2), "kernel_px is 9; with padding 2 it must fit into the side of 8 px."),
    ],
    ids=str,
)
def test_an_output_size_that_cannot_be_says_which_value_and_its_bound(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        output_size(*arguments)


def test_the_widest_kernel_that_fits_gives_one_position() -> None:
    assert [output_size(4, kernel, 3, padding) for kernel, padding in ((4, "valid"), (6, 1), (8, 2))] == [1, 1, 1]


@pytest.mark.parametrize(
    ("image", "kernel"),
    [((4, 4), (1, 3, 3)), ((3, 4, 4), (3, 3)), ((3, 4, 4), (1, 3, 3)), ((4,), (3,)), ((1, 3, 4, 4), (1, 3, 3, 3))],
    ids=str,
)
def test_steps_of_shapes_that_do_not_fit_are_refused_with_both(image: tuple, kernel: tuple) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(str(image))} and {re.escape(str(kernel))}"):
        next(convolution_steps(np.ones(image), np.ones(kernel)))


def test_a_negative_padding_is_refused_by_everything_that_pads() -> None:
    image, kernels = np.ones((1, 4, 4)), np.ones((1, 1, 3, 3))
    with pytest.raises(ValueError, match="padding is -1"):
        conv2d(image, kernels, padding=-1)
    with pytest.raises(ValueError, match="padding is -1"):
        max_pool(image, 2, padding=-1)
    with pytest.raises(ValueError, match="padding is -2"):
        average_pool(image, 2, padding=-2)
    with pytest.raises(ValueError, match="padding is -1"):
        next(convolution_steps(image[0], kernels[0, 0], padding=-1))
