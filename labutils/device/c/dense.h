/* Dense rows: every weight is there, zeros too. */
#ifndef DENSE_H
#define DENSE_H

#include "network.h"

#if !defined(FLOAT32) && defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>

/* SMLAD multiplies two pairs of 16-bit numbers and adds both products: two multiplications in
 * one instruction. SXTB16 makes a pair of bytes 0 and 2 of a register, or of 1 and 3 when it is
 * rotated by 8 first. Weights of convolutions are stored in the order 0 2 1 3, so that the pairs
 * come out as 0 1 and 2 3, which is how the 16-bit numbers of a column lie in memory. */

INLINE uint32_t load(const void *from) {
    uint32_t word;
    __builtin_memcpy(&word, from, 4);
    return word;
}

/* Four columns, one after the other: each weight is read once for four positions. */
INLINE void dense_4(const layer_t *layer, row_t row, const column_t *columns, sum_t *sums) {
    const value_t *weights = row.weights + row.start;
    const column_t *a = columns, *b = a + layer->length, *c = b + layer->length,
                   *d = c + layer->length;
    int32_t s = sums[0], t = sums[1], u = sums[2], v = sums[3];
    for (int i = 0; i < layer->length; i += 4) {
        uint32_t four = load(weights + i);
        int16x2_t first = __sxtb16(four), second = __sxtb16(__ror(four, 8));
        s = __smlad(first, load(a + i), s), s = __smlad(second, load(a + i + 2), s);
        t = __smlad(first, load(b + i), t), t = __smlad(second, load(b + i + 2), t);
        u = __smlad(first, load(c + i), u), u = __smlad(second, load(c + i + 2), u);
        v = __smlad(first, load(d + i), v), v = __smlad(second, load(d + i + 2), v);
    }
    sums[0] = s, sums[1] = t, sums[2] = u, sums[3] = v;
}

/* One vector of bytes: weights and inputs are taken apart alike, so their pairs match. */
INLINE sum_t dense_1(const layer_t *layer, row_t row, const value_t *inputs, sum_t sum) {
    const value_t *weights = row.weights + row.start;
    for (int i = 0; i < layer->length; i += 4) {
        uint32_t w = load(weights + i), x = load(inputs + i);
        sum = __smlad(__sxtb16(w), __sxtb16(x), sum);
        sum = __smlad(__sxtb16(__ror(w, 8)), __sxtb16(__ror(x, 8)), sum);
    }
    return sum;
}

#else

INLINE void dense_4(const layer_t *layer, row_t row, const column_t *columns, sum_t *sums) {
    const value_t *weights = row.weights + row.start;
    for (int i = 0; i < layer->length; i++) {
        for (int p = 0; p < 4; p++) {
            sums[p] += (sum_t)weights[i] * columns[p * layer->length + i];
        }
    }
}

INLINE sum_t dense_1(const layer_t *layer, row_t row, const value_t *inputs, sum_t sum) {
    const value_t *weights = row.weights + row.start;
    for (int i = 0; i < layer->length; i++) {
        sum += (sum_t)weights[i] * inputs[i];
    }
    return sum;
}

#endif
#endif
