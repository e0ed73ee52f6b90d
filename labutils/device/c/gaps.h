/* Sparse rows with 8-bit gaps: for each weight that is not zero, how far it lies behind the one
 * before. A gap beyond 255 is bridged by weights of zero. */
#ifndef GAPS_H
#define GAPS_H

#include "network.h"

INLINE void gaps_4(const layer_t *layer, int row, const column_t *columns, sum_t *sums) {
    const uint8_t *gaps = layer->places;
    const column_t *at = columns;
    sum_t s = sums[0], t = sums[1], u = sums[2], v = sums[3];
    for (start_t k = layer->starts[row]; k < layer->starts[row + 1]; k++) {
        at += 4 * gaps[k];
        sum_t weight = layer->values[k];
        s += weight * at[0], t += weight * at[1], u += weight * at[2], v += weight * at[3];
    }
    sums[0] = s, sums[1] = t, sums[2] = u, sums[3] = v;
}

INLINE sum_t gaps_1(const layer_t *layer, int row, const value_t *inputs) {
    const uint8_t *gaps = layer->places;
    sum_t sum = layer->bias[row];
    for (start_t k = layer->starts[row]; k < layer->starts[row + 1]; k++) {
        inputs += gaps[k];
        sum += (sum_t)layer->values[k] * *inputs;
    }
    return sum;
}

#endif
