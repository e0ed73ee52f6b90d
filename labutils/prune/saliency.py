"""Which weights would the loss miss least? Asked before training: SNIP (Lee et al. 2019)."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base.digits import Split, check_calibration
from labutils.base.layers import prunable_layers
from labutils.base.networks import evaluating
from labutils.fit.evaluation import BATCH
from labutils.prune.weights import Amount, Scope, prune_by


def weight_saliency(model: nn.Module, calibration: Split) -> dict[str, Tensor]:
    """Score every weight by how much the loss would change, to first order, without it.

    That is the magnitude of weight times gradient, the gradient being that of the loss over
    the calibration images: SNIP's connection sensitivity (Lee et al. 2019), up to a factor.

    Parameters
    ----------
    model : in any state of training; left as it was
    calibration : training images with labels, some hundreds

    Returns
    -------
    From layer to the scores of its weights, shaped like them, zero or positive.
    """
    check_calibration("Saliency", calibration)
    copied = copy.deepcopy(model)
    layers = prunable_layers(copied)
    weights = [layer.weight.requires_grad_() for layer in layers.values()]
    total = [torch.zeros_like(weight) for weight in weights]
    device = weights[0].device
    with evaluating(copied), torch.enable_grad():
        for start in range(0, len(calibration), BATCH):
            part = calibration[start : start + BATCH]
            logits = copied(part.images.to(device))
            loss = F.cross_entropy(logits, part.labels.to(device), reduction="sum")
            for so_far, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
                so_far += gradient / len(calibration)
    scores = ((w.detach() * g).abs() for w, g in zip(weights, total, strict=True))
    return dict(zip(layers, scores, strict=True))


def prune_snip(
    model: nn.Module,
    amount: Amount,
    calibration: Split,
    scope: Scope = "global",
    *,
    protect_output: bool = False,
) -> nn.Module:
    """Return a copy of a network without the weights of least saliency (Lee et al. 2019).

    Meant for a network that has not been trained: what is left is trained afterwards, as
    `fine_tune` does, the zeros staying zero.

    Parameters
    ----------
    amount, scope, protect_output : as for `prune_magnitude`
    calibration : training images with labels, some hundreds
    """
    scores = weight_saliency(model, calibration)
    return prune_by(model, lambda name, weight: scores[name], amount, scope, protect_output)
