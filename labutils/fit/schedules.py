"""How do learning rate and sparsity change from step to step?"""

import math
from collections.abc import Callable

# One cycle: the share of its steps in which the rate rises, and the rates at its two ends.
WARM, FIRST, LAST = 0.3, 1 / 25, 1 / 25e4


def _glide(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _one_cycle(step: int, steps: int) -> float:
    top = WARM * steps - 1
    if step <= top:
        return _glide(FIRST, 1.0, step / top)
    return _glide(1.0, LAST, (step - top) / (steps - 1 - top))


# From the number of steps done and their total to a share of the highest learning rate.
_RATES: dict[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "cosine": lambda step, steps: _glide(1.0, 0.0, step / steps),
    "one_cycle": _one_cycle,
}
SCHEDULES = (*_RATES, "rewind")


def learning_rates(schedule: str, steps: int, trained_steps: int = 0) -> list[float]:
    """Return the learning rate of each step, as a share of the highest.

    Parameters
    ----------
    schedule : ``"constant"``; ``"cosine"``, from the highest rate down to zero along half a
        cosine (Loshchilov & Hutter 2017); ``"one_cycle"``, which rises for 30% of the steps,
        then falls, as `train` does (Smith & Topin 2018); ``"rewind"``, the last `steps` of the
        one cycle that the network was trained with (Renda et al. 2020)
    steps : how many there are
    trained_steps : only for "rewind": how many steps that training had

    >>> [round(rate, 2) for rate in learning_rates("cosine", 4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    if schedule not in SCHEDULES:
        known = ", ".join(f'"{name}"' for name in SCHEDULES)
        raise ValueError(f"schedule={schedule!r}: choose {known}.")
    if schedule != "rewind":
        return [_RATES[schedule](step, steps) for step in range(steps)]
    if trained_steps < steps:
        raise ValueError(
            f'schedule="rewind" cannot go back {steps} steps in a training of {trained_steps}: '
            "take no more epochs than the network was trained for (trained_epochs, if its history "
            "does not say), or another schedule."
        )
    return [_one_cycle(step, trained_steps) for step in range(trained_steps - steps, trained_steps)]


def cubic_amount(share: float, final: float, initial: float = 0.0) -> float:
    """Return the amount to have pruned at a moment: fast at first, then slower and slower.

    ``final + (initial - final) * (1 - share)**3`` (Zhu & Gupta 2017): while many weights are
    left most of them are of no use; the last ones that go are missed.

    Parameters
    ----------
    share : how much of the time between start and end is over; below 0 as 0, above 1 as 1
    final, initial : amounts at the end and at the start

    >>> [round(cubic_amount(share, 0.9), 2) for share in (0, 0.25, 0.5, 1)]
    [0.0, 0.52, 0.79, 0.9]
    """
    return final + (initial - final) * (1 - min(max(share, 0.0), 1.0)) ** 3
