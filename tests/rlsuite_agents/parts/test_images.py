"""Which spaces are images, what becomes of their bytes, and the convolutions that read them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from registry.errors import InvalidObservationError, UnsupportedSpaceError
from rlsuite_agents.parts.convolution import NatureCNN, Rows, body_of, orthogonally, uniformly
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.images import Image, image_of
from rlsuite_agents.parts.mlp_gradient import Parameters


def box(*shape, low=0, high=255, dtype=np.uint8):
    return spaces.Box(low, high, shape, dtype)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((84, 84), Image(84, 84, 1, channels_first=True)),
        ((210, 160, 3), Image(210, 160, 3, channels_first=False)),
        ((4, 84, 84), Image(84, 84, 4, channels_first=True)),
        ((36, 40, 1), Image(36, 40, 1, channels_first=False)),
    ],
)
def test_the_shortest_axis_of_three_holds_the_channels(shape, image):
    assert image_of(box(*shape)) == image


@pytest.mark.parametrize(
    "space",
    [
        box(128),
        box(84, 84, 3, high=1),
        box(84, 84, 3, dtype=np.float32),
        spaces.MultiBinary((84, 84)),
        spaces.Dict(picture=box(84, 84)),
    ],
)
def test_all_else_is_no_image(space):
    assert image_of(space) is None
    assert Encoder(space, images=True).image is None


def test_images_that_cannot_be_told_are_refused():
    for shape in ((84, 84, 84), (84, 3, 84), (3, 84, 3)):
        with pytest.raises(UnsupportedSpaceError, match=r"the shape \(.*\) does not tell which"):
            image_of(box(*shape))
    with pytest.raises(UnsupportedSpaceError, match=r"two or three axes.*stack grey frames"):
        image_of(box(4, 84, 84, 3))
    with pytest.raises(UnsupportedSpaceError, match="at least 36 x 36 pixels, got 84 x 35"):
        NatureCNN(Image(84, 35, 3, channels_first=False))


def test_rows_of_images_remain_bytes():
    space = box(36, 36, 3)
    encoder, image = Encoder(space, images=True), space.sample()
    rows, single = encoder.rows(image)
    assert (rows.dtype, rows.shape, single) == (np.uint8, (1, 36 * 36 * 3), True)
    np.testing.assert_array_equal(rows[0], image.ravel())
    row = np.zeros(encoder.size, np.uint8)
    encoder.into(image, row)
    np.testing.assert_array_equal(row, rows[0])
    rows, single = encoder.rows(np.stack([image, image]))
    assert (len(rows), single) == (2, False)
    for wrong in (image.astype(np.float32), image.astype(np.int64)):
        with pytest.raises(InvalidObservationError, match="an image consists of bytes, uint8"):
            encoder.rows(wrong)
        with pytest.raises(InvalidObservationError, match="an image consists of bytes, uint8"):
            encoder.into(wrong, row)
    assert Encoder(space).rows(image)[0].dtype == np.float32  # for networks that read no images


def drawn(body, draw, seed=0):
    parameters = Parameters(body.shapes())
    body.initialise(parameters.values, draw(np.random.default_rng(seed)))
    return parameters.tensors()


@pytest.mark.parametrize("draw", [orthogonally, uniformly])
def test_the_convolutions_equal_torchs_layers(draw):
    image = Image(40, 52, 3, channels_first=False)
    body = NatureCNN(image)
    theta = drawn(body, draw)
    with torch.random.fork_rng():
        layers = [
            torch.nn.Conv2d(3, 32, 8, 4),
            torch.nn.Conv2d(32, 64, 4, 2),
            torch.nn.Conv2d(64, 64, 3, 1),
        ]
        last = [torch.nn.Flatten(), torch.nn.Linear(64 * 1 * 3, 512), torch.nn.ReLU()]
    relus = (part for layer in layers for part in (layer, torch.nn.ReLU()))
    twin = torch.nn.Sequential(*relus, *last)
    state = dict(zip(twin.state_dict(), theta.values(), strict=True))
    twin.load_state_dict(state)
    pictures = np.random.default_rng(1).integers(0, 256, (5, 40, 52, 3), dtype=np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    found = body(theta, torch.from_numpy(pictures.reshape(5, -1)))
    assert found.shape == (5, body.outputs)
    torch.testing.assert_close(found, twin(x), rtol=1e-5, atol=1e-6)
    assert found.std() > 0.01


def test_the_order_of_axes_changes_nothing():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 36, 40, 2), dtype=np.uint8)
    last = NatureCNN(Image(36, 40, 2, channels_first=False))
    first = NatureCNN(Image(36, 40, 2, channels_first=True))
    theta = drawn(last, orthogonally)
    turned = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    torch.testing.assert_close(
        last(theta, torch.from_numpy(pictures.reshape(3, -1))),
        first(theta, torch.from_numpy(turned.reshape(3, -1))),
    )


def test_first_weights_are_orthogonal():
    theta = drawn(NatureCNN(Image(36, 36, 1, channels_first=True)), orthogonally)
    flat = theta["conv1.weight"].reshape(64, -1)
    torch.testing.assert_close(flat @ flat.T, 2 * torch.eye(64), atol=1e-5, rtol=0)
    assert not theta["conv1.bias"].any()


def test_rows_of_numbers_need_no_convolutions():
    body, rows = body_of(3, None), torch.zeros(2, 3)
    assert isinstance(body, Rows)
    assert (body.outputs, body.shapes()) == (3, {})
    assert body({}, rows) is rows
    assert isinstance(body_of(36 * 36, Image(36, 36, 1, channels_first=True)), NatureCNN)
