"""Checks for the assignment: call one with your function, and it says what came of it.

>>> magnitude_mask(lambda weight, amount: weight > 0)
Exercise 2, magnitude_mask: wrong
  input     weight = [3, -1, 2, -4], amount = 0.5
  expected  no weight removed that is larger than one kept
  got       [True, False, True, False] (bool)
  likely    the signs count: rank by |w|, or -4 goes before 1
"""

# ruff: noqa: F401  (names only)
from labutils.checks.design import design_network, design_points
from labutils.checks.filters import filter_norms, filters_to_keep, removal_case, remove_filters
from labutils.checks.masks import global_masks, magnitude_mask
from labutils.checks.real import real_scan
from labutils.checks.scan import choose_amounts, scan_case, sensitivity_scan
from labutils.checks.sizes import sparsity_and_bytes, with_zeros
from labutils.checks.tuning import tune, tuning_case
from labutils.checks.verdict import CheckFailed
