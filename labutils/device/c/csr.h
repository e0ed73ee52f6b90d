/* Compressed sparse rows: the weights that are not zero, and a 16-bit place for each. */
#ifndef CSR_H
#define CSR_H

#include "network.h"

/* Four columns, interleaved: place i of all four, then place i + 1. */
INLINE void csr_4(const layer_t *layer, int row, const column_t *columns, sum_t *sums) {
    const uint16_t *places = layer->places;
    sum_t s = sums[0], t = sums[1], u = sums[2], v = sums[3];
    for (start_t k = layer->starts[row]; k < layer->starts[row + 1]; k++) {
        const column_t *at = columns + 4 * places[k];
        sum_t weight = layer->values[k];
        s += weight * at[0], t += weight * at[1], u += weight * at[2], v += weight * at[3];
    }
    sums[0] = s, sums[1] = t, sums[2] = u, sums[3] = v;
}

INLINE sum_t csr_1(const layer_t *layer, int row, const value_t *inputs) {
    const uint16_t *places = layer->places;
    sum_t sum = layer->bias[row];
    for (start_t k = layer->starts[row]; k < layer->starts[row + 1]; k++) {
        sum += (sum_t)layer->values[k] * inputs[places[k]];
    }
    return sum;
}

#endif
