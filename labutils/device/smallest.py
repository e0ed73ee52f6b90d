"""The smallest networks found by `models/make_smallest.py`: where they lie."""

from labutils._home import lab_home
from labutils.files import load_model
from labutils.models import SimpleCNN

ACCURACIES = (99.3, 99.0)


def load_smallest(accuracy: float) -> SimpleCNN:
    """Load the smallest network found that reaches an accuracy.

    Parameters
    ----------
    accuracy : in percent, 99.3 or 99.0

    Raises
    ------
    ValueError
        Another accuracy.
    FileNotFoundError
        The folder is missing, as when labutils was installed without its project.
    """
    if accuracy not in ACCURACIES:
        raise ValueError(f"accuracy={accuracy!r}: choose {' or '.join(map(str, ACCURACIES))}.")
    return load_model(lab_home() / "models" / "smallest" / f"simple_cnn_{accuracy}.pth")
