"""What happened during a training?"""

from dataclasses import dataclass, field


@dataclass
class History:
    """What happened during a training.

    Attributes
    ----------
    seed, epochs : what was asked for
    loss : mean training loss of each finished epoch, in nats
    validation_accuracy : after each finished epoch, in [0, 1]
    seconds : time taken, evaluation included
    interrupted : whether Ctrl-C (the square button) ended it
    trained_epochs : of a pruned network, how many epochs it was trained before it was pruned;
        None of one that was only trained: `loss` has a number for each of its epochs
    sparsity : share of zeros after each epoch, where they become more while training
    """

    seed: int
    epochs: int
    loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    trained_epochs: int | None = None
    sparsity: list[float] = field(default_factory=list)
