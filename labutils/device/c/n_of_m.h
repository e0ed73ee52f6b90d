/* n weights of every m neighbours, in the order of the filter, and the place of each among them in
 * as many bits as it takes, the lowest first. No row needs a start, each begins at a whole byte. */
#ifndef N_OF_M_H
#define N_OF_M_H

#include "network.h"

#define PLACE_BITS(m) ((m) > 4 ? 3 : (m) > 2 ? 2 : 1)

/* The places of a group whose bits begin `bit` bits into a row: 24 at most. */
INLINE uint32_t group_places(const uint8_t *places, uint32_t bit) {
    uint32_t word;
    __builtin_memcpy(&word, places + bit / 8, 4);
    return word >> bit % 8;
}

INLINE void n_of_m_4(const layer_t *layer, row_t row, const column_t *columns, sum_t *sums) {
    const int n = layer->n, m = layer->m, bits = PLACE_BITS(m), groups = layer->length / m;
    const value_t *weights = row.weights + row.start;
#pragma GCC unroll 4 /* so that most bits begin at a place in a byte that the compiler knows */
    for (int group = 0; group < groups; group++, columns += 4 * m) {
        uint32_t now = group_places(row.places, group * n * bits);
        for (int k = 0; k < n; k++, now >>= bits) {
            const column_t *at = columns + 4 * (now & ((1 << bits) - 1));
            sum_t weight = *weights++;
            for (int p = 0; p < 4; p++) {
                sums[p] += weight * at[p];
            }
        }
    }
}

INLINE sum_t n_of_m_1(const layer_t *layer, row_t row, const value_t *inputs, sum_t sum) {
    const int n = layer->n, m = layer->m, bits = PLACE_BITS(m), groups = layer->length / m;
    const value_t *weights = row.weights + row.start;
#pragma GCC unroll 4
    for (int group = 0; group < groups; group++, inputs += m) {
        uint32_t now = group_places(row.places, group * n * bits);
        for (int k = 0; k < n; k++, now >>= bits) {
            sum += (sum_t)*weights++ * inputs[now & ((1 << bits) - 1)];
        }
    }
    return sum;
}

#endif
