"""Lesson 03: what belongs to a channel behind Flatten, and how much does it respond?"""

import torch
from torch import Tensor

from labutils.practice.turn import turn


@turn(lambda: [(3, 2), (2, 3), (5, 7)], {
    "off by one channel: channel 0 is the first, so `channel` of them lie before this one":
        lambda channel, side: list(range((channel - 1) * side**2, channel * side**2)),
    "the first channel whatever `channel` is: those before it take columns too":
        lambda channel, side: list(range(side**2)),
    "side columns for a channel, as if its picture were one row: it has side * side pixels":
        lambda channel, side: list(range(channel * side, (channel + 1) * side)),
    "the first row of the picture only: it has side * side pixels":
        lambda channel, side: list(range(channel * side**2, channel * side**2 + side)),
    "the start: the channels before this one take side * side columns each, not side":
        lambda channel, side: list(range(channel * side, channel * side + side**2)),
    "pixels interleaved: Flatten lays out one channel after the other, so they are neighbours":
        lambda channel, side: [channel + pixel * side**2 for pixel in range(side**2)],
    "counted from 1: the first column is number 0":
        lambda channel, side: list(range(channel * side**2 + 1, (channel + 1) * side**2 + 1)),
    "the last column is missing: range(a, b) ends before b":
        lambda channel, side: list(range(channel * side**2, (channel + 1) * side**2 - 1)),
})  # fmt: skip
def columns_of(channel: int, side: int) -> list[int]:
    """Return the columns of a linear layer behind Flatten that read this channel's picture."""
    return torch.arange(side**2).add(channel * side**2).tolist()


def _weights() -> list[tuple]:
    channels = torch.tensor([0.0, 1.0, 10.0, 11.0, 20.0, 21.0])  # 21 is pixel 1 of channel 2
    tiny = torch.stack([channels, 100 + channels])  # 121 is that of output 1
    drawn = torch.randint(-9, 10, (3, 16), generator=torch.Generator().manual_seed(0)).float()
    return [(tiny, [1], 2), (tiny, [0, 2], 2), (drawn, [0, 3], 4)]


def _channels(weight: Tensor, kept: list[int], pixels: int) -> Tensor:
    return weight.unflatten(1, (-1, pixels))[:, kept].flatten(1)


@turn(_weights, {
    "the first channels, as many as are kept: `kept` says which":
        lambda weight, kept, pixels: weight[:, : len(kept) * pixels],
    "rows were cut: they are the outputs, which all stay; the channels lie along the columns":
        lambda weight, kept, pixels: weight[[row for row in kept if row < len(weight)]],
    "one column for each channel: a channel has as many neighbouring columns as pixels":
        lambda weight, kept, pixels: weight[:, kept],
    "those that should go were kept":
        lambda weight, kept, pixels: _channels(
            weight, [c for c in range(weight.shape[1] // pixels) if c not in kept], pixels
        ),
    "pixels interleaved: Flatten lays out one channel after the other":
        lambda weight, kept, pixels: weight.unflatten(1, (pixels, -1))[:, :, kept].flatten(1),
    "the numbers are right, but the result is outputs x channels x pixels: make it two-dimensional":
        lambda weight, kept, pixels: weight.unflatten(1, (-1, pixels))[:, kept],
    "the channels one below the other: join them along dimension 1, so that all outputs stay":
        lambda weight, kept, pixels: torch.cat([_channels(weight, [c], pixels) for c in kept]),
    "the numbers are right, but in one row: the result is outputs x columns":
        lambda weight, kept, pixels: _channels(weight, kept, pixels).flatten(),
    "zeros instead of a smaller weight: the columns should be gone":
        lambda weight, kept, pixels: weight * torch.isin(
            torch.arange(weight.shape[1]) // pixels, torch.tensor(kept)
        ),
})  # fmt: skip
def cut_columns(weight: Tensor, kept: list[int], pixels: int) -> Tensor:
    """Return the weight of a linear layer behind Flatten without the channels that are gone."""
    return _channels(weight, kept, pixels)


def _maps() -> list[tuple]:
    one = torch.tensor([[[[3.0, -4.0]], [[2.0, 4.0]]]])  # an image, 2 channels of 1 x 2 pixels
    drawn = torch.randint(-9, 10, (4, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    return [(one,), (torch.cat([one, one + 1]),), (drawn.float(),)]


@turn(_maps, {
    "without the ReLU: the next layer never gets what is below 0":
        lambda maps: maps.mean((0, 2, 3)),
    "the ReLU comes first, pixel by pixel, then the mean":
        lambda maps: maps.mean((0, 2, 3)).relu(),
    "magnitudes instead of the ReLU: what is below 0 becomes 0":
        lambda maps: maps.abs().mean((0, 2, 3)),
    "the mean over the images only: every channel should get one number":
        lambda maps: maps.relu().mean(0),
    "a row for each image: the mean runs over the images too":
        lambda maps: maps.relu().mean((2, 3)),
    "the numbers are right, but in four dimensions: leave out `keepdim`":
        lambda maps: maps.relu().mean((0, 2, 3), keepdim=True),
    "one number for all channels: they are dimension 1, the one that stays":
        lambda maps: maps.relu().mean(),
    "one number for each image: images are dimension 0, channels dimension 1":
        lambda maps: maps.relu().mean((1, 2, 3)),
    "the mean over the channels: they are dimension 1, the one that stays":
        lambda maps: maps.relu().mean(1),
    "a sum, where a mean is asked for: divide by images and pixels":
        lambda maps: maps.relu().sum((0, 2, 3)),
    "a sum over the images: with twice as many the scores would double":
        lambda maps: maps.relu().mean((2, 3)).sum(0),
})  # fmt: skip
def activation_scores(maps: Tensor) -> Tensor:
    """Return for each channel the mean of its feature maps after a ReLU."""
    return maps.relu().mean((0, 2, 3))
