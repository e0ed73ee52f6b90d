"""The networks: one small CNN for the lessons, two from the pruning papers."""

from collections import OrderedDict

from torch import nn

from labutils.base import given

CLASSES = 10
WIDEST = 100_000  # more would be a slip, and take all memory there is


class Network(nn.Sequential):
    """A plain chain of named layers whose widths can shrink.

    Because it is an ``nn.Sequential``, the forward pass is the list of layers, nothing
    hidden. The widths are read off the layers, so they stay true after filters went.
    """

    # The layers whose outputs `widths` counts; the last layer has a row for each digit.
    counted: tuple[str, ...] = ()

    def __getitem__(self, index: int | slice) -> nn.Module:
        # nn.Sequential would build type(self)(...) for a slice: a part is not a SimpleCNN.
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels or neurons of each layer but the last."""
        layers = [getattr(self, name) for name in self.counted]
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


NETWORKS: dict[str, type[Network]] = {
    network.__name__: network for network in (SimpleCNN, LeNet300, LeNet5)
}
