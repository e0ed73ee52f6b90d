"""The networks: small CNNs for the lessons, plain and branched, two from the pruning papers."""

import itertools
from collections import OrderedDict

import torch
from torch import Tensor, nn

from labutils.base import given

CLASSES = 10
WIDEST = 100_000  # more would be a slip, and take all memory there is


class Widths:
    """A network whose widths can shrink: they are read off its layers, so they stay true."""

    # The layers whose outputs `widths` counts; the last layer has a row for each digit.
    counted: tuple[str, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels or neurons of the layers that are counted."""
        layers = [self.get_submodule(name) for name in self.counted]
        return tuple(
            layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
            for layer in layers
        )

    @classmethod
    def checked(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        """Return the widths as a tuple, or say what is wrong with them."""
        try:
            checked = tuple(given.whole(width, "width", 1, WIDEST) for width in widths)
        except (TypeError, ValueError):
            checked = ()
        if len(checked) != len(cls.counted):
            raise ValueError(
                f"{cls.__name__} got widths={widths!r}: give {len(cls.counted)} integers "
                f"from 1 to {WIDEST:,}, for {', '.join(cls.counted)}."
            )
        return checked


class Network(Widths, nn.Sequential):
    """A plain chain of named layers: the forward pass is the list of layers, nothing hidden."""

    def __getitem__(self, index: int | slice) -> nn.Module:
        # nn.Sequential would build type(self)(...) for a slice: a part is not a SimpleCNN.
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)


class SimpleCNN(Network):
    """The lessons' network: two convolutions, two linear layers.

    Images N x 1 x 28 x 28 in, logits N x 10 out; 105,866 parameters at full width.

    Parameters
    ----------
    widths : filters of conv1, filters of conv2, neurons of fc1

    >>> sum(parameter.numel() for parameter in SimpleCNN().parameters())
    105866
    """

    counted = ("conv1", "conv2", "fc1")

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 64)) -> None:
        conv1, conv2, fc1 = self.checked(widths)
        layers = {
            "conv1": nn.Conv2d(1, conv1, kernel_size=3, padding=1),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(conv1, conv2, kernel_size=3, padding=1),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(conv2 * 7 * 7, fc1),
            "relu3": nn.ReLU(),
            "fc2": nn.Linear(fc1, CLASSES),
        }
        super().__init__(OrderedDict(layers))


class LeNet300(Network):
    """LeNet-300-100: no convolutions (LeCun et al. 1998; Han et al. 2015).

    Images N x 1 x 28 x 28 in, logits N x 10 out; 266,610 parameters at full width.

    >>> sum(parameter.numel() for parameter in LeNet300().parameters())
    266610
    """

    counted = ("fc1", "fc2")

    def __init__(self, widths: tuple[int, int] = (300, 100)) -> None:
        fc1, fc2 = self.checked(widths)
        layers = {
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(28 * 28, fc1),
            "relu1": nn.ReLU(),
            "fc2": nn.Linear(fc1, fc2),
            "relu2": nn.ReLU(),
            "fc3": nn.Linear(fc2, CLASSES),
        }
        super().__init__(OrderedDict(layers))


class LeNet5(Network):
    """LeNet-5 as Caffe has it and the pruning papers use it (Han et al. 2015).

    Images N x 1 x 28 x 28 in, logits N x 10 out; 431,080 parameters at full width.
    Caffe's file has no ReLU behind the convolutions; later papers put one, as here.

    >>> sum(parameter.numel() for parameter in LeNet5().parameters())
    431080
    """

    counted = ("conv1", "conv2", "fc1")

    def __init__(self, widths: tuple[int, int, int] = (20, 50, 500)) -> None:
        conv1, conv2, fc1 = self.checked(widths)
        layers = {
            "conv1": nn.Conv2d(1, conv1, kernel_size=5),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(conv1, conv2, kernel_size=5),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(conv2 * 4 * 4, fc1),
            "relu3": nn.ReLU(),
            "fc2": nn.Linear(fc1, CLASSES),
        }
        super().__init__(OrderedDict(layers))


class ResidualBlock(nn.Module):
    """Two convolutions whose answer is added to what came in (He et al. 2016).

    Parameters
    ----------
    channels, inner, width : channels that come in, between the convolutions, and out; where what
        comes in does not fit, a convolution of 1 x 1 makes it fit
    """

    def __init__(self, channels: int, inner: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.add_module("conv", nn.Conv2d(channels, width, 1, stride, bias=False))
            self.shortcut.add_module("norm", nn.BatchNorm2d(width))

    def forward(self, images: Tensor) -> Tensor:
        """Return N x width x H x W."""
        inside = torch.relu(self.norm1(self.conv1(images)))
        return torch.relu(self.norm2(self.conv2(inside)) + self.shortcut(images))


class ResidualCNN(Widths, nn.Module):
    """A small residual network: a convolution, two blocks, the mean of each channel.

    Images N x 1 x H x W in, logits N x 10 out; 19,706 parameters at full width.

    Parameters
    ----------
    widths : channels of the first convolution (and of block1), inside block1, inside block2, and
        of block2

    >>> sum(parameter.numel() for parameter in ResidualCNN().parameters())
    19706
    """

    counted = ("conv", "block1.conv1", "block2.conv1", "block2.conv2")

    def __init__(self, widths: tuple[int, int, int, int] = (16, 16, 32, 32)) -> None:
        super().__init__()
        first, inner1, inner2, last = self.checked(widths)
        self.conv = nn.Conv2d(1, first, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.block1 = ResidualBlock(first, inner1, first)
        self.block2 = ResidualBlock(first, inner2, last, stride=2)
        self.fc = nn.Linear(last, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        start = torch.relu(self.norm(self.conv(images)))
        return self.fc(self.block2(self.block1(start)).mean((2, 3)))


class SeparableCNN(Network):
    """A small depthwise-separable network, like MobileNet (Howard et al. 2017).

    Three times a convolution by channel (depthwise, 3 x 3), then one across channels (pointwise,
    1 x 1). Images N x 1 x H x W in, logits N x 10 out; 9,034 parameters at full width.

    Parameters
    ----------
    widths : channels of the first convolution and of the three pointwise ones

    >>> sum(parameter.numel() for parameter in SeparableCNN().parameters())
    9034
    """

    counted = ("conv", "pointwise1", "pointwise2", "pointwise3")

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 64)) -> None:
        first, *others = self.checked(widths)
        layers: dict[str, nn.Module] = {
            "conv": nn.Conv2d(1, first, 3, stride=2, padding=1, bias=False),
            "norm": nn.BatchNorm2d(first),
            "relu": nn.ReLU(),
        }
        for n, (before, width) in enumerate(itertools.pairwise([first, *others]), 1):
            stride = 2 if n == 2 else 1
            layers[f"depthwise{n}"] = nn.Conv2d(
                before, before, 3, stride, padding=1, groups=before, bias=False
            )
            layers |= {f"norm{n}a": nn.BatchNorm2d(before), f"relu{n}a": nn.ReLU()}
            layers[f"pointwise{n}"] = nn.Conv2d(before, width, 1, bias=False)
            layers |= {f"norm{n}b": nn.BatchNorm2d(width), f"relu{n}b": nn.ReLU()}
        layers |= {"mean": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        super().__init__(OrderedDict(layers | {"fc": nn.Linear(others[-1], CLASSES)}))


NETWORKS: dict[str, type[Widths]] = {
    network.__name__: network
    for network in (SimpleCNN, LeNet300, LeNet5, ResidualCNN, SeparableCNN)
}
