"""Checks of what the reader writes in the lessons: call one with your function.

>>> cross_entropy(lambda logits, labels: -logits.log_softmax(1)[0, labels[0]])
Your turn, cross_entropy: wrong
  input     logits = [[2, 1, -1], [0, 0, 0]], labels = [2, 1] (int64)
  expected  2.22381
  got       3.34901
"""

# ruff: noqa: F401  (names only)
from labutils.practice.branches import cut_block, join
from labutils.practice.deployment import quantize_filters, rescale, sparse_row
from labutils.practice.magnitude import gaps, global_threshold, smallest
from labutils.practice.recovery import equal_steps, put_zeros_back, ticket
from labutils.practice.repair import remaining_weight, two_of_four
from labutils.practice.structured import activation_scores, columns_of, cut_columns
from labutils.practice.training import cross_entropy, disagreements, take_step
