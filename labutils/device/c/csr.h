/* Compressed sparse rows: the weights that are not zero, and a 16-bit place for each. */
#ifndef CSR_H
#define CSR_H

#include "network.h"

/* Four columns, interleaved: place i of all four, then place i + 1. */
INLINE void csr_4(const layer_t *layer, row_t row, const column_t *columns, sum_t *sums) {
    const uint16_t *places = row.places;
    sum_t s = sums[0], t = sums[1], u = sums[2], v = sums[3];
    for (int k = row.start; k < row.end; k++) {
        const column_t *at = columns + 4 * places[k];
        sum_t weight = row.weights[k];
        s += weight * at[0], t += weight * at[1], u += weight * at[2], v += weight * at[3];
    }
    sums[0] = s, sums[1] = t, sums[2] = u, sums[3] = v;
}

INLINE sum_t csr_1(const layer_t *layer, row_t row, const value_t *inputs, sum_t sum) {
    const uint16_t *places = row.places;
    for (int k = row.start; k < row.end; k++) {
        sum += (sum_t)row.weights[k] * inputs[places[k]];
    }
    return sum;
}

#endif
