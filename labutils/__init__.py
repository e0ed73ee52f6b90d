"""The helpers the lessons import: ``import labutils as lab``."""

import sys

try:
    from labutils._hints import explain_missing_names
    from labutils._home import lab_home
    from labutils.chooser import network_chooser, qualify
    from labutils.comparison import compare
    from labutils.data import Digits, Split, load_mnist
    from labutils.files import load_model, load_pretrained, save_model
    from labutils.findings import Verdict, paired_latency, pareto_front, report, verdict
    from labutils.installation import check_installation
    from labutils.layers import prunable_layers
    from labutils.magnitude import (
        magnitude_mask,
        prune_magnitude,
        prune_random,
        sensitivity,
        sparsity,
    )
    from labutils.measurement import Measurement, measure
    from labutils.metrics import (
        Evaluation,
        count_macs,
        evaluate,
        layer_table,
        mean_interval,
        predict,
        wilson_interval,
    )
    from labutils.models import LeNet5, LeNet300, SimpleCNN
    from labutils.plots import (
        accuracy_against,
        accuracy_bands,
        confidence_bars,
        digit_grid,
        filter_responses,
        learning_curves,
        network_diagram,
        score_bars,
        sensitivity_curves,
        show,
        tensors_side_by_side,
        weight_histograms,
    )
    from labutils.sizes import Sizes, load_compressed, model_bytes, save_compressed, sparse_bytes
    from labutils.structured import filter_scores, keep_filters, prune_filters
    from labutils.tables import load_comparison, save_comparison
    from labutils.timing import latency, layer_latency
    from labutils.training import History, best_device, train
    from labutils.widgets import pruning_explorer
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
    "Measurement",
    "SimpleCNN",
    "Sizes",
    "Split",
    "Verdict",
    "accuracy_against",
    "accuracy_bands",
    "best_device",
    "check_installation",
    "compare",
    "confidence_bars",
    "count_macs",
    "digit_grid",
    "evaluate",
    "filter_responses",
    "filter_scores",
    "keep_filters",
    "lab_home",
    "latency",
    "layer_latency",
    "layer_table",
    "learning_curves",
    "load_comparison",
    "load_compressed",
    "load_mnist",
    "load_model",
    "load_pretrained",
    "magnitude_mask",
    "mean_interval",
    "measure",
    "model_bytes",
    "network_chooser",
    "network_diagram",
    "paired_latency",
    "pareto_front",
    "predict",
    "prunable_layers",
    "prune_filters",
    "prune_magnitude",
    "prune_random",
    "pruning_explorer",
    "qualify",
    "report",
    "save_comparison",
    "save_compressed",
    "save_model",
    "score_bars",
    "sensitivity",
    "sensitivity_curves",
    "show",
    "sparse_bytes",
    "sparsity",
    "tensors_side_by_side",
    "train",
    "verdict",
    "weight_histograms",
    "wilson_interval",
]

explain_missing_names()
