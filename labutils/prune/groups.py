"""What does one filter of each group cost, and who has to go with it?"""

import math

import pandas as pd
from torch import nn

from labutils.cost.macs import layer_table
from labutils.prune.dependencies import Dependencies, read_dependencies


def channel_groups(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> pd.DataFrame:
    """Say which layers lose filters together, and what the network saves with one of them.

    Two layers are in a group if what they answer is added, or reaches the same place in another
    way, so that filter 3 of one cannot go without filter 3 of the other.

    Returns
    -------
    Table with the columns `group` (the name that `prune_filters` takes in an amount), `layers`
    (a tuple; depthwise ones too), `filters` (how many can go, at most all but one), `parameters`
    and `macs` (what goes with one filter, everywhere). What `prune_filters` and `count_macs`
    refuse is refused.

    >>> from labutils.base.networks import SimpleCNN
    >>> channel_groups(SimpleCNN())[["group", "filters", "parameters", "macs"]]
       group  filters  parameters   macs
    0  conv1       16         298  63504
    1  conv2       32        3281  31360
    2    fc1       64        1579   1578
    """
    found = read_dependencies(model, image_shape)
    macs = layer_table(model, image_shape).groupby("layer", sort=False)["macs"].sum()
    rows = []
    for name, group in found.groups.items():
        parameters, multiplications = _saved(model, found, group.units[-1], macs)
        own = {f"{layer}.weight": filters for layer, filters in group.filters.items()}
        own |= {weight: found.units[weight][0] for weight in found.depthwise}
        layers = [w.removesuffix(".weight") for w in own if {*own[w].tolist()} & {*group.units}]
        rows.append(
            {
                "group": name,
                "layers": tuple(sorted(layers, key=[*macs.index, *layers].index)),
                "filters": len(group.units),
                "parameters": parameters,
                "macs": round(multiplications),
            }
        )
    return pd.DataFrame(rows)


def _saved(model: nn.Module, found: Dependencies, unit: int, macs: pd.Series) -> tuple[int, float]:
    """Return the parameters and multiplications that go with a unit."""
    parameters, multiplications = 0, 0.0
    for name, tensor in model.named_parameters():
        left = [int((units != unit).sum()) for units in found.units[name]]
        parameters += tensor.numel() - math.prod(left)
        layer = name.removesuffix(".weight")
        if layer != name and layer in macs:
            multiplications += macs[layer] * (1 - math.prod(left) / tensor.numel())
    return parameters, multiplications
