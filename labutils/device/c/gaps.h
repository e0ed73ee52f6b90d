/* Sparse rows with 8-bit gaps: for each weight that is not zero, how far it lies behind the one
 * before. A gap beyond 255 is bridged by weights of zero. */
#ifndef GAPS_H
#define GAPS_H

#include "network.h"

INLINE void gaps_4(const layer_t *layer, row_t row, const column_t *columns, sum_t *sums) {
    const uint8_t *gaps = row.places;
    const column_t *at = columns;
    sum_t s = sums[0], t = sums[1], u = sums[2], v = sums[3];
    for (int k = row.start; k < row.end; k++) {
        at += 4 * gaps[k];
        sum_t weight = row.weights[k];
        s += weight * at[0], t += weight * at[1], u += weight * at[2], v += weight * at[3];
    }
    sums[0] = s, sums[1] = t, sums[2] = u, sums[3] = v;
}

INLINE sum_t gaps_1(const layer_t *layer, row_t row, const value_t *inputs, sum_t sum) {
    const uint8_t *gaps = row.places;
    for (int k = row.start; k < row.end; k++) {
        inputs += gaps[k];
        sum += (sum_t)row.weights[k] * *inputs;
    }
    return sum;
}

#endif
