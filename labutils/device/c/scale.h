/* From a sum to the next layer's activation: ReLU, and for int8 the scale. */
#ifndef SCALE_H
#define SCALE_H

#include "network.h"

INLINE value_t activate(const layer_t *layer, int row, sum_t sum) {
    if (sum <= 0) {
        return 0;
    }
#ifdef FLOAT32
    return sum;
#else
    int64_t half = (int64_t)1 << (layer->shift[row] - 1); /* rounds instead of cutting off */
    int64_t scaled = ((int64_t)sum * layer->multiplier[row] + half) >> layer->shift[row];
    return scaled > 127 ? 127 : scaled;
#endif
}

#endif
