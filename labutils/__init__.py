"""The helpers the lessons import: ``import labutils as lab``."""

import sys

try:
    from labutils._hints import explain_missing_names
    from labutils._home import lab_home
    from labutils.data import Digits, Split, load_mnist
    from labutils.files import load_model, load_pretrained, save_model
    from labutils.installation import check_installation
    from labutils.metrics import Evaluation, evaluate, layer_table, predict, wilson_interval
    from labutils.models import LeNet5, LeNet300, SimpleCNN
    from labutils.plots import confidence_bars, digit_grid, learning_curves, network_diagram, show
    from labutils.training import History, best_device, train
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed in the Python that runs here ({sys.executable}): start "
        "JupyterLab with `make lab` (or activate the conda environment first), then choose "
        "Kernel > Restart Kernel.",
        name=error.name,
    ) from error

__all__ = [
    "Digits",
    "Evaluation",
    "History",
    "LeNet5",
    "LeNet300",
    "SimpleCNN",
    "Split",
    "best_device",
    "check_installation",
    "confidence_bars",
    "digit_grid",
    "evaluate",
    "lab_home",
    "layer_table",
    "learning_curves",
    "load_mnist",
    "load_model",
    "load_pretrained",
    "network_diagram",
    "predict",
    "save_model",
    "show",
    "train",
    "wilson_interval",
]

explain_missing_names()
