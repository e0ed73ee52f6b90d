/* A convolution with ReLU, and with 2 x 2 pooling if there is any: the four positions that are
 * pooled, else four neighbours, are computed together, so that each weight is read once for them. */
#ifndef CONVOLUTION_H
#define CONVOLUTION_H

#include "network.h"
#include "scale.h"
#include "unpack.h"

typedef void row_4(const layer_t *, row_t, const column_t *, sum_t *);

/* Where filters are at position p of a block of four. Behind the last one y is too large. */
INLINE void place(const layer_t *layer, int block, int p, int *y, int *x) {
    if (layer->pooled) {
        int half = layer->across / 2;
        *y = block / half * 2 + p / 2, *x = block % half * 2 + p % 2;
    } else {
        *y = (4 * block + p) / layer->across, *x = (4 * block + p) % layer->across;
    }
}

/* Lay out what a filter sees at one position, zeros beyond the border: place i goes to
 * column[i * along]. Places are counted pixel by pixel, or channel by channel, as PyTorch stores a
 * filter, in n-of-m layers. */
INLINE void gather(const layer_t *layer, const value_t *picture, int y, int x, column_t *column,
                   int along) {
    int channels = layer->channels / layer->groups;
    int step = layer->m ? layer->kernel[0] * layer->kernel[1] * along : along;
    int top = y * layer->stride[0] - layer->padding[0];
    int left = x * layer->stride[1] - layer->padding[1];
    for (int i = top; i < top + layer->kernel[0]; i++) {
        for (int j = left; j < left + layer->kernel[1]; j++) {
            int inside = i >= 0 && i < layer->high && j >= 0 && j < layer->wide;
            const value_t *from = picture + (i * layer->wide + j) * layer->channels;
            for (int c = 0; c < channels; c++, column += step) {
                *column = inside ? from[c] : 0;
            }
            column -= layer->m ? channels * step - along : 0;
        }
    }
}

/* Columns lie one behind the other, or, for sparse rows, place by place (`interleaved`). */
INLINE void convolve(const layer_t *layer, row_4 *kernel, int interleaved, const value_t *picture,
                     void *to, column_t *columns, value_t *unpacked) {
    const value_t *weights = layer->code ? unpacked : layer->values;
    const void *places = layer->code ? unpack(layer, unpacked) : layer->places;
    int apart = interleaved ? 1 : layer->length, along = interleaved ? 4 : 1;
    int positions = layer->down * layer->across, of_group = layer->rows / layer->groups;
    int blocks = layer->pooled ? (layer->down / 2) * (layer->across / 2) : (positions + 3) / 4;
    for (int block = 0; block < blocks; block++) {
        for (int g = 0; g < layer->groups; g++) {
            for (int p = 0; p < 4; p++) {
                int y, x;
                place(layer, block, p, &y, &x);
                gather(layer, picture + g * (layer->channels / layer->groups), y, x,
                       columns + p * apart, along);
            }
            for (int r = g * of_group; r < (g + 1) * of_group; r++) {
                sum_t bias = bias_of(layer, r), sums[4] = {bias, bias, bias, bias};
                kernel(layer, find_row(layer, r, weights, places), columns, sums);
                if (layer->pooled) {
                    sum_t first = sums[0] > sums[1] ? sums[0] : sums[1];
                    sum_t second = sums[2] > sums[3] ? sums[2] : sums[3];
                    sum_t largest = first > second ? first : second;
                    hand_on(layer, r, largest, to, block * layer->rows + r);
                } else {
                    for (int p = 0; p < 4 && 4 * block + p < positions; p++) {
                        hand_on(layer, r, sums[p], to, (4 * block + p) * layer->rows + r);
                    }
                }
            }
        }
    }
}

#endif
