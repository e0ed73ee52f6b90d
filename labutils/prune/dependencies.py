"""Which channels go together? A network is run once, and its channels leave their numbers.

Take filter 3 out of a convolution, and channel 3 of all that works with its answers has to go:
BatchNorm's statistics, a slice of the next layer's weights, what is added to it elsewhere. So the
dimensions of tensors get *labels*, numbers that say which channel each index belongs to. What
moves numbers (view, Flatten, chunk) moves labels; what works number by number (ReLU, addition)
ties the labels that meet: those channels go together, as one *unit*, or not at all. Layers read
labels on one side of their weights and answer with those of the other. What meets anything else
stays: an operation that is not known here costs possibilities, never correctness.
"""
# ruff: noqa: ANN001, ANN002, ANN003, ANN204 (what PyTorch's operations are given)

import copy
import re
import sys
import traceback
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from labutils.base import given

Labels = Tensor | None  # int64, one for each index of a dimension; None: all of it stays
MOVERS = {"unsafe_view", "repeat", "flip", "pixel_shuffle", "pixel_unshuffle"}  # and all views
POINTWISE = {
    "hardswish",
    "prelu_kernel",
    "log_sigmoid_forward",
}  # those that PyTorch does not call so
MADE_ANEW = re.compile("_like$|^new_")  # from the shape alone
EACH_CHANNEL = re.compile("pool[123]d|upsample|reflection_pad|replication_pad")
SIDES = (28, 32, 64, 96, 128, 160, 192, 224, 256, 299, *range(1, 129))  # of images to try
BROKEN = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


@dataclass
class Group:
    """Layers whose filters go together.

    `units` are the numbers of those that can go, in the order of the layers' filters; `filters`
    has the unit of each filter (or neuron) of each layer, 0 for those that stay.
    """

    filters: dict[str, Tensor] = field(default_factory=dict)
    units: list[int] = field(default_factory=list)


@dataclass
class Dependencies:
    """What goes with what in a network.

    `groups` by the name of their first layer. `units`: of each parameter and buffer the unit of
    each index of each dimension. `sides`: the dimension in which weights read channels, and that
    of what they answer. `depthwise`: weights of filters that go with the one channel they read.
    `probe`: the network as it was run, for an `image` that fits.
    """

    groups: dict[str, Group]
    units: dict[str, list[Labels]]
    sides: dict[str, tuple[int, int]]
    depthwise: set[str]
    probe: nn.Module
    image: Tensor


def read_dependencies(model: nn.Module, image_shape: tuple[int, ...] | None = None) -> Dependencies:
    """Find the groups of layers whose filters can go, and all that goes with each filter.

    Parameters
    ----------
    image_shape : of one image; None tries 1 x 28 x 28, then what the first layer could read

    Raises
    ------
    TypeError, ValueError
        The network reads no such image, or none of its filters can go.
    """
    probe = copy.deepcopy(given.plain_weights(model)).cpu().float().eval().requires_grad_(False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it would hide what attention consists of
    try:
        image = _fitting_image(probe, image_shape)
        with torch.no_grad(), _Reader(probe) as reader:
            answers = probe(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    reader.stay(_tensors(answers), "the network's answer")
    root, units = reader.roots(), {}
    for name, tensor in reader.tensors.items():
        units[name] = [root[labels] for labels in tensor.labels]
    groups: dict[str, Group] = {}
    for weight, (_, answers) in reader.sides.items():
        _join(groups, weight.removesuffix(".weight"), units[weight][answers])
    if not groups:
        raise ValueError(
            f"This {type(model).__name__} has no filter to remove: all its channels reach what "
            f"cannot follow when they go ({', '.join(dict.fromkeys(reader.reasons))})."
        )
    return Dependencies(groups, units, reader.sides, reader.depthwise, probe, image)


def remove_units(model: nn.Module, dependencies: Dependencies, gone: list[int]) -> nn.Module:
    """Return a copy of a network without some units, tried on one random image.

    Raises
    ------
    ValueError
        What is left fails, or answers something else than the whole network would if nobody read
        the channels that went: its forward counts on their number.
    """
    lost = torch.tensor(gone, dtype=torch.int64)
    slim = cut(copy.deepcopy(model), dependencies, lost)
    if not gone:
        return slim
    silent = {}
    for name, (reads, _) in dependencies.sides.items():
        columns = torch.isin(dependencies.units[name][reads], lost).nonzero().flatten()
        if len(columns):
            silent[name] = dependencies.probe.get_parameter(name).index_fill(reads, columns, 0)
    left = copy.deepcopy(slim).cpu().float().eval()
    for path, layer in left.named_modules():
        if isinstance(layer, nn.modules.instancenorm._InstanceNorm) and not layer.affine:
            layer.register_forward_pre_hook(partial(_count_features, slim.get_submodule(path)))
    image = torch.rand(dependencies.image.shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            right = functional_call(dependencies.probe, silent, (image,))
            pairs = zip(_tensors(left(image)), _tensors(right), strict=True)
            same = all(
                torch.allclose(a, b, 1e-3, 1e-3 * float(b.abs().max()), True) for a, b in pairs
            )
            problem = None if same else "answers something else than it should"
    except BROKEN as error:
        problem = f"fails{_line(error)}: {str(error).strip().splitlines()[0]}"
    if problem:
        raise ValueError(
            f"Without these filters this {type(model).__name__} {problem}. Does its forward hold "
            "a number of channels or features? Let it ask, as with flatten(1) or x.shape[1]."
        )
    return slim


def _count_features(own: nn.Module, layer: nn.Module, inputs: tuple[Tensor]) -> None:
    """Tell a layer without tensors how many channels it reads."""
    own.num_features = layer.num_features = inputs[0].shape[1]


def cut(model: nn.Module, dependencies: Dependencies, lost: Tensor) -> nn.Module:
    """Take units out of a network, in place."""
    done: dict[int, Tensor] = {}  # so that what is shared stays shared
    for path, layer in model.named_modules():
        for own, before in [*layer._parameters.items(), *layer._buffers.items()]:
            name = f"{path}.{own}".lstrip(".")
            if before is None or (id(before) not in done and name not in dependencies.units):
                continue
            if id(before) not in done:
                after = before.detach()
                for dim, units in enumerate(dependencies.units[name]):
                    stay = (~torch.isin(units, lost)).nonzero().flatten()
                    after = after.index_select(dim, stay.to(after.device))
                trained = isinstance(before, nn.Parameter)
                done[id(before)] = nn.Parameter(after, before.requires_grad) if trained else after
            if name in dependencies.depthwise:
                layer.groups = layer.groups * len(done[id(before)]) // len(before)
            setattr(layer, own, done[id(before)])
        _resize(layer)
    return model


def _resize(layer: nn.Module) -> None:
    """Make true again what a layer says of its size, after its tensors have shrunk."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        answers, reads = layer.weight.shape[:2]
        if layer.transposed:
            answers, reads = reads * layer.groups, answers // layer.groups
        layer.in_channels, layer.out_channels = reads * layer.groups, answers
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.GroupNorm) and layer.affine:
        layer.num_groups = layer.num_groups * len(layer.weight) // layer.num_channels
        layer.num_channels = len(layer.weight)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif hasattr(layer, "num_features"):
        for tensor in (layer.weight, layer.running_mean):
            layer.num_features = layer.num_features if tensor is None else len(tensor)


def _join(groups: dict[str, Group], layer: str, filters: Tensor) -> None:
    """Add a layer to the groups: to those whose units it has, which become one, or as a new one."""
    units = [unit for unit in dict.fromkeys(filters.tolist()) if unit]
    met = [name for name, group in groups.items() if not set(units).isdisjoint(group.units)]
    if not units:
        return
    first, *others = met or [layer]
    group = groups.setdefault(first, Group())
    for other in (groups.pop(name) for name in others):
        group.filters |= other.filters
        units = other.units + units
    group.filters[layer] = filters
    group.units = list(dict.fromkeys(group.units + units))


def _fitting_image(model: nn.Module, image_shape: tuple[int, ...] | None) -> Tensor:
    """Return a blank image that a network reads."""
    shapes = [(1, 28, 28)] if image_shape is None else [given.shape(image_shape)]
    first = next((m for m in model.modules() if isinstance(m, given.WEIGHTED)), None)
    if image_shape is None and isinstance(first, nn.Linear):
        shapes.append((first.in_features,))
    elif image_shape is None and first is not None:
        shapes += [(first.in_channels, *[side] * len(first.kernel_size)) for side in SIDES]
    problem = None
    for shape in shapes:
        image = torch.zeros(1, *shape)
        try:
            with torch.no_grad():
                model(image)
            return image
        except BROKEN as error:
            problem = problem or error
    raise ValueError(
        f"image_shape={shapes[0]} does not fit this {type(model).__name__}: it "
        f"fails{_line(problem)}: {str(problem).strip().splitlines()[0]}"
    ) from problem


def _line(error: Exception) -> str:
    """Say in which line of the reader's own code something failed."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [e for e in lines if "/torch/" not in e.filename and e.filename != __file__]
    return f' in line {own[-1].lineno}, "{own[-1].line}"' if own else ""


def _tensors(values: object) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _labels(tensor: Tensor) -> list[Labels]:
    return getattr(tensor, "labels", None) or [None] * tensor.dim()


class _Reader(TorchDispatchMode):
    """Follows labels through the basic operations that a forward pass consists of.

    Labels are numbers from 1; one that is tied to 0 stays, as what is tied to None.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.count, self.ties = 1, [torch.zeros(2, 1, dtype=torch.int64)]
        self.sides: dict[str, tuple[int, int]] = {}
        self.depthwise: set[str] = set()
        self.reasons: list[str] = []
        self.names = {id(layer): name for name, layer in model.named_modules()}
        self.tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        for name, tensor in self.tensors.items():
            tensor.source, tensor.labels = name, []
            for size in tensor.shape:
                tensor.labels.append(torch.arange(self.count, self.count + size))
                self.count += size

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        result = results[0] if isinstance(results, tuple) else results
        tensors = _tensors((args, kwargs))
        name = function.overloadpacket.__name__.strip("_")  # add_ is as add
        pointwise = torch.Tag.pointwise in function.tags and name != "copy"
        labelled = any(labels is not None for tensor in tensors for labels in _labels(tensor))
        if not labelled or MADE_ANEW.search(name):
            pass
        elif rule := getattr(self, f"on_{name}", None):
            rule(result, *args)
        elif name in MOVERS or (function.is_view and name != "as_strided"):
            self.on_move(result, function, *args, **(kwargs or {}))
        elif pointwise or name in POINTWISE:
            self.on_pointwise(result, tensors)
        elif EACH_CHANNEL.search(name) and not any(
            each is not None for each in _labels(args[0])[2:]
        ):
            result.labels = [*_labels(args[0])[:2], *[None] * (result.dim() - 2)]
        else:
            self.stay(tensors, name)
        return results

    def tie(self, *labels: Labels) -> Labels:
        """Let channels go together that meet; those that meet None stay."""
        known = [each for each in labels if each is not None]
        stay = len(known) < len(labels)
        if known and stay:
            known.append(torch.zeros_like(known[0]))
        for each in known[1:]:
            self.ties.append(torch.stack([known[0], each]))
        return None if stay or not known else known[0]

    def stay(self, values: list, reason: str) -> None:
        """Let all channels of some tensors stay."""
        for tensor in (value for value in values if isinstance(value, Tensor)):
            for labels in _labels(tensor):
                self.tie(labels, None)
        frame, place = sys._getframe(1), ""
        while frame and not place:
            layer = frame.f_locals.get("self") if frame.f_code.co_name == "forward" else None
            place = self.names.get(id(layer), "") and f" in {self.names[id(layer)]}"
            frame = frame.f_back
        self.reasons.append(reason + place)

    def roots(self) -> Tensor:
        """Return the unit of each label, 0 for those that stay."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        one, other = torch.cat(self.ties, 1).numpy()
        graph = coo_matrix((one >= 0, (one, other)), shape=(self.count, self.count))
        unit = torch.from_numpy(connected_components(graph, directed=False)[1]).long()
        return torch.where(unit == unit[0], 0, unit + 1)

    # What each kind of operation ties, and the labels of its result.

    def on_pointwise(self, result: Tensor, tensors: list[Tensor]) -> None:
        found = []
        for dim in range(-result.dim(), 0):
            here = [(_labels(t)[dim], t.shape[dim]) for t in tensors if t.dim() >= -dim]
            for labels, size in here:
                if size != result.shape[dim]:  # it meets all channels
                    self.tie(labels, None)
            if result.shape[dim] == 1:  # the only channel of its layer: it stays anyway
                here = [(labels, size) for labels, size in here if labels is not None]
            found.append(self.tie(*(each for each, size in here if size == result.shape[dim])))
        result.labels = found

    def on_move(self, results: Tensor | list, function, source: Tensor, *args, **kwargs) -> None:
        results = results if isinstance(results, list) else [results]
        for result in results:
            result.labels, result.source = [None] * result.dim(), getattr(source, "source", None)
        for dim, labels in enumerate(_labels(source)):
            if labels is None:
                continue
            shape = [-1 if place == dim else 1 for place in range(source.dim())]
            moved = function(labels.view(shape).expand(source.shape).contiguous(), *args, **kwargs)
            moved = moved if isinstance(moved, list) else [moved]
            found = []
            for result, part in zip(results, moved, strict=True):
                places = [p for p, n in enumerate(part.shape) if n > 1 and part.diff(dim=p).any()]
                if not places and function is torch.ops.aten.t.default:
                    places = [1 - dim]  # the only filter of a layer
                # Slots of a block are tied, but for pixel_shuffle, which takes blocks apart.
                keep = part.dim() - 3 if "pixel" in str(function) else (places or [0])[-1]
                slots = part.movedim(keep, 0).reshape(part.shape[keep], -1)
                if len(places) > 1:
                    self.tie(slots[:, :1].expand_as(slots).flatten(), slots.flatten())
                found.append(slots[:, 0] if places else None)
                if places:
                    result.labels[keep] = slots[:, 0]
            few = len(moved) > 1 or moved[0].numel() < source.numel()
            if few and any(len(part.unique()) < len(labels.unique()) for part in moved):
                # Halves go on if they are equal: their slots are tied.
                halves = len({part.shape for part in moved}) == 1 < len(moved)
                self.tie(*found) if halves and None not in found else self.tie(labels, None)

    def on_rrelu_with_noise(self, result: Tensor, source: Tensor, *_) -> None:
        result.labels = _labels(source).copy()

    def on_cat(self, result: Tensor, tensors: list[Tensor], dim: int = 0) -> None:
        found = []
        for place in range(result.dim()):
            here = [_labels(tensor)[place] for tensor in tensors]
            if place == dim % result.dim() and any(labels is not None for labels in here):
                zeros = [torch.zeros(t.shape[place], dtype=torch.int64) for t in tensors]
                here = [
                    z if labels is None else labels for labels, z in zip(here, zeros, strict=True)
                ]
                found.append(torch.cat(here))
            else:
                found.append(self.tie(*here))
        result.labels = found

    def on_constant_pad_nd(self, result: Tensor, source: Tensor, pads: list[int], *_) -> None:
        result.labels = []
        for place, labels in enumerate(reversed(_labels(source))):  # pads begin with the last
            pair = pads[2 * place : 2 * place + 2] or [0, 0]
            if min(pair) < 0:
                labels = self.tie(labels, None)
            result.labels.insert(0, labels if labels is None else F.pad(labels, pair))

    def on_mean(self, result: Tensor, source: Tensor, dims: list[int] = (), keep=False, *_) -> None:
        gone = {dim % source.dim() for dim in dims or range(source.dim())}
        result.labels = []
        for dim, labels in enumerate(_labels(source)):
            if dim not in gone:
                result.labels.append(labels)
            else:
                self.tie(labels, None)
                result.labels += [None] * keep

    on_sum = on_amax = on_amin = on_mean

    def on_native_batch_norm(self, result: Tensor, source: Tensor, *vectors) -> None:
        result.labels = _labels(source).copy()
        own = [_labels(v)[0] for v in vectors if isinstance(v, Tensor)]
        result.labels[1] = self.tie(result.labels[1], *own)

    def on_native_group_norm(self, result, source, weight, bias, *sizes) -> None:
        self.on_native_batch_norm(result, source, weight, bias)
        if (labels := result.labels[1]) is not None:
            blocks = labels.view(sizes[3], -1)  # a group of channels goes as a whole
            self.tie(blocks[:, :1].expand_as(blocks).flatten(), labels)

    def on_convolution(self, result, source, weight, bias, *how) -> None:
        transposed, groups = how[3], how[5]
        given, read = _labels(source)[1], _labels(weight)[0 if transposed else 1]
        answered = _labels(weight)[1 if transposed else 0]
        sides = self.sides_of(weight, read, answered)
        if not sides or (transposed and groups > 1):
            return self.stay([source, weight, bias], "an unusual convolution")
        if groups > 1 and len(read) == 1 and given is not None:
            self.depthwise.add(weight.source)
            self.tie(given.repeat_interleave(len(answered) // groups), answered)
        else:
            self.sides[weight.source] = sides
            for block in [None] if given is None else given.view(groups, -1):
                self.tie(block, read)
            for block in answered.view(groups, -1)[1:]:  # slots, since groups stay equal
                self.tie(answered.view(groups, -1)[0], block)
        if bias is not None:
            self.tie(answered, _labels(bias)[0])
        result.labels = [None, answered, *[None] * (result.dim() - 2)]

    def on_mm(self, result: Tensor, *operands: Tensor) -> None:
        *bias, left, right = operands
        found = [(right, left, -2), (left, right, -1)]  # weights, what they read, by which side
        weight, other, side = found[0 if getattr(right, "source", None) else 1]
        read, answered = _labels(weight)[side], _labels(weight)[-3 - side]
        sides = self.sides_of(weight, read, answered)
        if not sides:  # a product of channels, as in attention, or with a part of a weight
            return self.stay(list(operands), "a product")
        self.sides[weight.source] = sides
        self.tie(_labels(other)[-3 - side], read)
        result.labels = [*_labels(left)[:-1], _labels(right)[-1]]
        for vector in bias:
            result.labels[-1] = self.tie(result.labels[-1], _labels(vector)[-1])

    def sides_of(self, weight: Tensor, *labels: Labels) -> tuple[int, ...] | None:
        """Return on which dimensions of a parameter these labels are, if it has them."""
        own = self.tensors[weight.source].labels if getattr(weight, "source", None) else []
        found = [d for each in labels for d, its in enumerate(own)
                 if each is not None and torch.equal(its, each)]  # fmt: skip
        return tuple(found) if len(found) == len(labels) else None

    on_addmm = on_bmm = on_mm
