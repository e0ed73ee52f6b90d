/* A depthwise convolution: each filter sees one channel, so there is nothing to lay out. */
#ifndef DEPTHWISE_H
#define DEPTHWISE_H

#include "network.h"
#include "scale.h"
#include "unpack.h"

/* Rows i0 to i1 and columns j0 to j1 of a filter, on a picture's channel from `corner` on. */
INLINE sum_t weigh(const layer_t *layer, const value_t *weights, const value_t *corner, int i0,
                   int i1, int j0, int j1, sum_t sum) {
    for (int i = i0; i < i1; i++) {
        for (int j = j0; j < j1; j++) {
            sum += (sum_t)weights[i * layer->kernel[1] + j] *
                   corner[(i * layer->wide + j) * layer->channels];
        }
    }
    return sum;
}

INLINE void depthwise(const layer_t *layer, const value_t *picture, void *to, value_t *unpacked) {
    const value_t *weights = layer->code ? unpacked : layer->values;
    if (layer->code) {
        unpack(layer, unpacked);
    }
    const int high = layer->kernel[0], wide = layer->kernel[1];
    for (int y = 0, at = 0; y < layer->down; y++) {
        int top = y * layer->stride[0] - layer->padding[0];
        int i0 = top < 0 ? -top : 0, i1 = top + high > layer->high ? layer->high - top : high;
        for (int x = 0; x < layer->across; x++, at += layer->rows) {
            int left = x * layer->stride[1] - layer->padding[1];
            int j0 = left < 0 ? -left : 0, j1 = left + wide > layer->wide ? layer->wide - left : wide;
            const value_t *corner = picture + (top * layer->wide + left) * layer->channels;
            int whole = i1 - i0 == high && j1 - j0 == wide; /* its loops know their lengths */
            for (int c = 0; c < layer->rows; c++, corner++) {
                const value_t *row = weights + c * layer->length;
                sum_t bias = bias_of(layer, c);
                sum_t sum = whole ? weigh(layer, row, corner, 0, high, 0, wide, bias)
                                  : weigh(layer, row, corner, i0, i1, j0, j1, bias);
                hand_on(layer, c, sum, to, at + c);
            }
        }
    }
}

#endif
