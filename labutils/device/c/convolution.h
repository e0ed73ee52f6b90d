/* A 3 x 3 convolution with ReLU and 2 x 2 pooling, in one pass: the four positions that are
 * pooled are computed together, and only the largest is kept. */
#ifndef CONVOLUTION_H
#define CONVOLUTION_H

#include "network.h"
#include "scale.h"

/* Lay out what the four positions see: 9 pixels of all channels each, zeros beyond the border.
 * Place i of position p goes to columns[p * across + i * along]. Places are counted pixel by
 * pixel, or channel by channel, as PyTorch stores a filter. */
INLINE void gather(const value_t *picture, int side, int channels, int top, int left,
                          column_t *columns, int across, int along, int by_channel) {
    int step = by_channel ? 9 * along : along;
    for (int p = 0; p < 4; p++) {
        column_t *to = columns + p * across;
        for (int y = top + p / 2 - 1; y <= top + p / 2 + 1; y++) {
            for (int x = left + p % 2 - 1; x <= left + p % 2 + 1; x++) {
                int inside = y >= 0 && y < side && x >= 0 && x < side;
                const value_t *from = picture + (y * side + x) * channels;
                for (int c = 0; c < channels; c++, to += step) {
                    *to = inside ? from[c] : 0;
                }
                to -= by_channel ? channels * step - along : 0;
            }
        }
    }
}

typedef void row_4(const layer_t *, int, const column_t *, sum_t *);

/* Pictures lie in memory pixel by pixel, the channels of a pixel side by side. With `apart`, what
 * is pooled lies channel by channel instead, each of them so far from the next. */
INLINE void convolve(const layer_t *layer, row_4 *row, int interleaved,
                            const value_t *picture, int side, int channels, column_t *columns,
                            value_t *pooled, int apart) {
    int across = interleaved ? 1 : layer->length, along = interleaved ? 4 : 1;
    for (int top = 0; top + 1 < side; top += 2) {
        for (int left = 0; left + 1 < side; left += 2) {
            gather(picture, side, channels, top, left, columns, across, along, layer->m);
            for (int f = 0; f < layer->rows; f++) {
                sum_t bias = layer->bias[f], sums[4] = {bias, bias, bias, bias};
                row(layer, f, columns, sums);
                sum_t first = sums[0] > sums[1] ? sums[0] : sums[1];
                sum_t second = sums[2] > sums[3] ? sums[2] : sums[3];
                sum_t largest = first > second ? first : second;
                *(apart ? pooled + f * apart : pooled++) = activate(layer, f, largest);
            }
            pooled += apart ? 1 : 0;
        }
    }
}

#endif
