/* Sparse rows with a bit for each place: set where the next weight belongs. */
#ifndef BITMASK_H
#define BITMASK_H

#include "network.h"

#define WORDS(length) (((length) + 31) / 32)

INLINE void bitmask_4(const layer_t *layer, row_t row, const column_t *columns, sum_t *sums) {
    const uint32_t *masks = row.places;
    const value_t *weights = row.weights + row.start;
    sum_t s = sums[0], t = sums[1], u = sums[2], v = sums[3];
    for (int word = 0; word < WORDS(layer->length); word++, columns += 4 * 32) {
        for (uint32_t bits = masks[word]; bits; bits &= bits - 1) { /* clears the lowest */
            const column_t *at = columns + 4 * __builtin_ctz(bits);
            sum_t weight = *weights++;
            s += weight * at[0], t += weight * at[1], u += weight * at[2], v += weight * at[3];
        }
    }
    sums[0] = s, sums[1] = t, sums[2] = u, sums[3] = v;
}

INLINE sum_t bitmask_1(const layer_t *layer, row_t row, const value_t *inputs, sum_t sum) {
    const uint32_t *masks = row.places;
    const value_t *weights = row.weights + row.start;
    for (int word = 0; word < WORDS(layer->length); word++, inputs += 32) {
        for (uint32_t bits = masks[word]; bits; bits &= bits - 1) {
            sum += (sum_t)*weights++ * inputs[__builtin_ctz(bits)];
        }
    }
    return sum;
}

#endif
