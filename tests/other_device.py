"""A pretended GPU: like Apple's it has no doubles, and no tensor of it mixes with the CPU's."""

import copy

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

THERE = torch.device("mps")


class There(Tensor):
    """A tensor on the pretended GPU."""


class PretendedGPU(TorchFunctionMode):
    """While it lasts, tensors are made there, moved there and back, and computed with."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        given = tree_leaves((args, kwargs or {}))
        on_it = any(isinstance(value, There) for value in given)
        if function == Tensor.device.__get__ and on_it:
            return THERE
        if function == Tensor.is_cpu.__get__ and on_it:
            return False
        if function is Tensor.__deepcopy__ and on_it:
            copied = args[0].detach().clone()
            return nn.Parameter(copied) if isinstance(args[0], nn.Parameter) else copied
        if function is torch._has_compatible_shallow_copy_type and on_it:
            return False
        if function is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        moved = function is Tensor.to and (THERE in given or isinstance(args[1], There))
        others = [value for value in given if type(value) is Tensor and value.dim() > 0]
        if on_it and others and not moved:
            raise RuntimeError(f"{function.__name__}: expected all tensors on the same device")
        args, kwargs = tree_map(lambda v: "cpu" if v == THERE else v, (args, kwargs or {}))
        result = function(*args, **kwargs)
        return tree_map(_there, result) if on_it or THERE in given else result


def _there(value):
    if not isinstance(value, Tensor):
        return value
    if value.dtype == torch.float64:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
    return value if isinstance(value, There) else value.as_subclass(There)


def moved(model: nn.Module) -> nn.Module:
    """Copy a network to the pretended GPU."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach().as_subclass(There))
    return model


def same_tensors(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two networks hold the same values, wherever they are."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a.as_subclass(Tensor), b.as_subclass(Tensor)) for a, b in pairs)
