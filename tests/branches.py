"""Small networks with branches, one for each way in which channels depend on each other."""

import copy

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """A stem, something in between, and an answer from the mean of what that gives."""

    def __init__(self, width=8, out=None, **layers):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.head = nn.Linear(out or width, 5)

    def forward(self, images):
        return self.head(self.between(F.relu(self.norm(self.stem(images)))).mean((2, 3)))


def conv(inputs, outputs, size=3, **options):
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


class Residual(Net):
    def __init__(self):
        super().__init__(out=12, a=conv(8, 6), b=conv(6, 12), shortcut=conv(8, 12, 1))

    def between(self, x):
        return F.relu(self.b(F.relu(self.a(x))) + self.shortcut(x))


class Padded(Net):  # the shortcut of He et al. for CIFAR: pixels left out, channels of zeros put in
    def __init__(self):
        super().__init__(out=12, a=conv(8, 12, stride=2), b=conv(12, 12))

    def between(self, x):
        return self.b(F.relu(self.a(x))) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))


class Dense(Net):
    def __init__(self):
        super().__init__(out=18, a=conv(8, 4), norm1=nn.BatchNorm2d(12), b=conv(12, 6))

    def between(self, x):
        x = torch.cat([x, self.a(x)], 1)
        return torch.cat([x, self.b(F.relu(self.norm1(x)))], 1)


class Inverted(Net):  # MobileNet v3: depthwise between pointwise, channels weighed by a gate
    def __init__(self):
        super().__init__(
            up=conv(8, 16, 1), deep=conv(16, 16, groups=16), squeeze=conv(16, 4, 1),
            excite=conv(4, 16, 1), down=conv(16, 8, 1), norm1=nn.BatchNorm2d(16),
        )  # fmt: skip

    def between(self, x):
        y = F.hardswish(self.norm1(self.deep(F.hardswish(self.up(x)))))
        gate = self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1))))
        return x + self.down(y * F.hardsigmoid(gate))


class Shuffled(Net):
    def __init__(self):
        super().__init__(
            a=conv(4, 4, 1), deep=conv(4, 4, groups=4), b=conv(4, 4, 1), c=conv(8, 8, 1)
        )

    def between(self, x):
        kept, x = x.chunk(2, 1)
        x = torch.cat([kept, F.relu(self.b(self.deep(F.relu(self.a(x)))))], 1)
        count, channels, height, width = x.shape
        x = x.view(count, 2, channels // 2, height, width).transpose(1, 2)
        return F.relu(self.c(x.reshape(count, channels, height, width)))


class Grouped(Net):
    def __init__(self):
        super().__init__(a=conv(8, 12, 1), b=conv(12, 24, groups=3), c=conv(24, 8, 1))

    def between(self, x):
        return x + self.c(F.relu(self.b(F.relu(self.a(x)))))


class Normed(Net):
    def __init__(self):
        super().__init__(a=conv(8, 12), groups=nn.GroupNorm(4, 12), c=conv(12, 8),
                         each=nn.InstanceNorm2d(8, affine=True), prelu=nn.PReLU(8))  # fmt: skip

    def between(self, x):
        return self.prelu(x + self.each(self.c(F.relu(self.groups(self.a(x))))))


class Hourglass(Net):
    def __init__(self):
        super().__init__(out=6, down=conv(8, 10, stride=2), up=nn.ConvTranspose2d(10, 7, 2, 2),
                         last=conv(15, 6), wide=conv(6, 24))  # fmt: skip

    def between(self, x):
        x = F.relu(self.last(torch.cat([x, self.up(F.relu(self.down(x)))], 1)))
        return F.pixel_shuffle(self.wide(F.interpolate(x, scale_factor=2.0)), 2)


class Shared(Net):
    def __init__(self):
        super().__init__(a=conv(8, 6), b=conv(6, 8), scale=nn.Parameter(torch.randn(8, 1, 1)))

    def between(self, x):
        for _ in range(2):
            x = x + self.scale * self.b(F.relu(self.a(x)))
        return x


class Bare(Net):  # nothing but functions and parameters
    def __init__(self):
        weights = nn.ParameterList([torch.randn(6, 8, 3, 3), torch.randn(7, 6)])
        super().__init__(out=7, weights=weights)

    def between(self, x):
        x = F.relu(F.conv2d(x, self.weights[0], padding=1))
        return torch.einsum("nchw,oc->nohw", x, self.weights[1])


class Attention(Net):
    def __init__(self):
        super().__init__(qkv=nn.Linear(8, 24), out_=nn.Linear(8, 8), norm1=nn.LayerNorm(8),
                         up=nn.Linear(8, 20), down=nn.Linear(20, 8))  # fmt: skip

    def between(self, x):
        count, channels, height, width = x.shape
        x = self.norm1(x.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(x).reshape(count, -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        x = x + self.out_(mixed.transpose(1, 2).reshape(count, -1, channels))
        x = x + self.down(F.gelu(self.up(x)))
        return x.transpose(1, 2).reshape(count, channels, height, width)


class Encoder(Net):
    def __init__(self):
        super().__init__(layer=nn.TransformerEncoderLayer(8, 2, 20, batch_first=True))

    def between(self, x):
        return self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class Flat(Net):  # pictures and numbers side by side, behind Flatten
    def __init__(self):
        super().__init__(out=9, a=conv(8, 4), small=nn.Linear(8, 6), last=nn.Linear(4 * 16 + 6, 9))

    def between(self, x):
        pictures = F.max_pool2d(self.a(x), 2).flatten(1)
        numbers = F.relu(self.small(x.amax((2, 3))))
        return F.relu(self.last(torch.cat([pictures, numbers], 1)))[:, :, None, None]


def signal():
    return nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 4, 3),
        nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


def volume():
    return nn.Sequential(
        nn.Conv3d(1, 6, 3), nn.BatchNorm3d(6), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(6, 4, 1),
        nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


NETWORKS = {
    **{kind.__name__: (kind, (3, 8, 8)) for kind in Net.__subclasses__()},
    "signal": (signal, (2, 20)),
    "volume": (volume, (1, 4, 4, 4)),
}


def make(name):
    """Return one of the networks, in double precision, its statistics not those of the start."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    model = build().double().eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model, torch.randn(4, *shape, dtype=torch.float64)


def silenced(model, found, gone):
    """The whole network, in which nobody reads the channels that go."""
    whole = copy.deepcopy(model)
    for name, (reads, _) in found.sides.items():
        lost = torch.isin(found.units[name][reads], torch.tensor(gone)).nonzero().flatten()
        whole.get_parameter(name).data.index_fill_(reads, lost, 0)
    return whole


def permute(model, found, moved):
    """Put units in each other's places, in place: `moved` says which comes where."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, sides in found.units.items():
        for dim, units in enumerate(sides):
            places = {}
            for place, unit in enumerate(units.tolist()):
                places.setdefault(unit, []).append(place)
            order = torch.arange(len(units))
            for unit, other in moved.items():
                order[places.get(unit, [])] = torch.tensor(places.get(other, []), dtype=torch.int64)
            if not torch.equal(order, torch.arange(len(units))):
                tensors[name].data = tensors[name].data.index_select(dim, order)
