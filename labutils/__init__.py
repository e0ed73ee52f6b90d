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
    from labutils.iterative import PruningStep, prune_iteratively
    from labutils.layers import prunable_layers
    from labutils.live_recovery import recovery_explorer
    from labutils.magnitude import (
        lamp_scores,
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
    from labutils.recipes import (
        prune_and_tune,
        prune_before_training,
        prune_in_steps,
        prune_while_training,
        rising_amounts,
        train_from_scratch,
        train_ticket,
    )
    from labutils.recovery import fine_tune, reinitialised, rewind, train_sparse
    from labutils.recovery_plots import seed_dots, step_curves
    from labutils.saliency import prune_snip, weight_saliency
    from labutils.schedules import SCHEDULES, cubic_amount, learning_rates
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
    "SCHEDULES",
    "Digits",
    "Evaluation",
    "History",
    "LeNet5",
    "LeNet300",
    "Measurement",
    "PruningStep",
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
    "cubic_amount",
    "digit_grid",
    "evaluate",
    "filter_responses",
    "filter_scores",
    "fine_tune",
    "keep_filters",
    "lab_home",
    "lamp_scores",
    "latency",
    "layer_latency",
    "layer_table",
    "learning_curves",
    "learning_rates",
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
    "prune_and_tune",
    "prune_before_training",
    "prune_filters",
    "prune_in_steps",
    "prune_iteratively",
    "prune_magnitude",
    "prune_random",
    "prune_snip",
    "prune_while_training",
    "pruning_explorer",
    "qualify",
    "recovery_explorer",
    "reinitialised",
    "report",
    "rewind",
    "rising_amounts",
    "save_comparison",
    "save_compressed",
    "save_model",
    "score_bars",
    "seed_dots",
    "sensitivity",
    "sensitivity_curves",
    "show",
    "sparse_bytes",
    "sparsity",
    "step_curves",
    "tensors_side_by_side",
    "train",
    "train_from_scratch",
    "train_sparse",
    "train_ticket",
    "verdict",
    "weight_histograms",
    "weight_saliency",
    "wilson_interval",
]

explain_missing_names()
