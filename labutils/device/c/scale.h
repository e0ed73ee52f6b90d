/* From a sum to what the next layer reads: ReLU, and for int8 the scale. */
#ifndef SCALE_H
#define SCALE_H

#include "network.h"

INLINE sum_t bias_of(const layer_t *layer, int row) {
    if (!layer->bias) {
        return 0;
    }
#ifdef FLOAT32
    return ((const float *)layer->bias)[row];
#else
    int32_t stored = layer->bias_bytes == 1   ? ((const int8_t *)layer->bias)[row]
                     : layer->bias_bytes == 2 ? ((const int16_t *)layer->bias)[row]
                                              : ((const int32_t *)layer->bias)[row];
    return stored * (1 << layer->bias_shift);
#endif
}

INLINE value_t activate(const layer_t *layer, int row, sum_t sum) {
    if (layer->relu && sum <= 0) {
        return 0;
    }
#ifdef FLOAT32
    return sum;
#else
    if (layer->multiplier) {
        int place = layer->multipliers == 1 ? 0 : row, shift = *layer->shift;
        int32_t multiplier = layer->multiplier_bytes == 1
                                 ? ((const uint8_t *)layer->multiplier)[place]
                                 : ((const int32_t *)layer->multiplier)[place];
        int64_t half = (int64_t)1 << (shift - 1); /* rounds instead of cutting off */
        int64_t scaled = layer->narrow ? (sum * multiplier + (int32_t)half) >> shift
                                       : ((int64_t)sum * multiplier + half) >> shift;
        sum = scaled > 127 ? 127 : scaled < -127 ? -127 : scaled;
    }
    return sum;
#endif
}

/* Hand on what a filter found at one place: an activation, or, of the last layer, the sum. */
INLINE void hand_on(const layer_t *layer, int row, sum_t sum, void *to, int place) {
    if (layer->last) {
        ((sum_t *)to)[place] = layer->relu && sum < 0 ? 0 : sum;
    } else {
        ((value_t *)to)[place] = activate(layer, row, sum);
    }
}

#endif
