"""The helpers the lessons import: ``import labutils as lab``."""

import sys

from labutils.base.threads import spin_less as _spin_less

_spin_less()  # before PyTorch is loaded

try:
    from labutils.base.digits import Digits, Split, load_fashion_mnist, load_mnist
    from labutils.base.files import load_model, load_pretrained, save_model
    from labutils.base.hints import prepare_notebook as _prepare_notebook
    from labutils.base.home import lab_home
    from labutils.base.installation import check_installation
    from labutils.base.layers import prunable_layers
    from labutils.base.networks import LeNet5, LeNet300, ResidualCNN, SeparableCNN, SimpleCNN
    from labutils.cost.latency import latency, layer_latency
    from labutils.cost.macs import count_macs, layer_table
    from labutils.cost.sizes import model_bytes, sparse_bytes
    from labutils.fit.evaluation import (
        evaluate,
        mean_interval,
        paired_difference,
        predict,
        wilson_interval,
    )
    from labutils.fit.recovery import reinitialised, rewind
    from labutils.fit.training import fine_tune, learning_rates, train
    from labutils.look.chooser import network_chooser
    from labutils.look.figures import (
        accuracy_against,
        accuracy_bands,
        confidence_bars,
        digit_grid,
        filter_responses,
        groups_diagram,
        learning_curves,
        network_diagram,
        score_bars,
        seed_dots,
        sensitivity_curves,
        show,
        step_curves,
        tensors_side_by_side,
        weight_histograms,
    )
    from labutils.look.guesses import guess, guesses
    from labutils.look.recovery_explorer import recovery_explorer
    from labutils.page.explorer import pruning_explorer
    from labutils.prune.filters import filter_scores, keep_filters, prune_filters
    from labutils.prune.groups import channel_groups
    from labutils.prune.repair import repair
    from labutils.prune.steps import (
        cubic_amount,
        prune_iteratively,
        rising_amounts,
        train_sparse,
    )
    from labutils.prune.surgeon import prune_obs, prune_wanda
    from labutils.prune.weights import (
        magnitude_mask,
        prune_magnitude,
        prune_n_of_m,
        prune_random,
        sensitivity,
        sparsity,
    )
    from labutils.study.comparison import compare
    from labutils.study.findings import paired_latency, pareto_front, report, verdict
    from labutils.study.measurement import measure
    from labutils.study.methods import prune_and_repair, prune_and_tune, train_from_scratch
    from labutils.study.tables import load_comparison
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed in the Python that runs here ({sys.executable}): start "
        "JupyterLab with `python start.py` (or activate the conda environment first), then choose "
        "Kernel > Restart Kernel.",
        name=error.name,
    ) from error

_prepare_notebook()
