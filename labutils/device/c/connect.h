/* A linear layer: each neuron sees everything there is. */
#ifndef CONNECT_H
#define CONNECT_H

#include "network.h"
#include "scale.h"
#include "unpack.h"

typedef sum_t row_1(const layer_t *, row_t, const value_t *, sum_t);

/* What has to be unpacked is needed once, so there is room for one row. */
INLINE void connect(const layer_t *layer, row_1 *kernel, const value_t *inputs, void *to,
                    value_t *unpacked) {
    stream_t values = values_of(layer), places = places_of(layer);
    for (int r = 0; r < layer->rows; r++) {
        row_t row = find_row(layer, r, layer->values, layer->places);
        if (layer->code) {
            int count = values_in(layer, r);
            unpack_row(layer, r, &values, unpacked);
            const uint8_t *first = row.places;
            row = (row_t){unpacked, first + row.start * layer->place_bytes, 0, count};
            for (int i = 0; layer->place_symbols && i < count; i++) {
                unpacked[count + i] = next_symbol(&places);
            }
            row.places = layer->place_symbols ? unpacked + count : row.places;
        }
        hand_on(layer, r, kernel(layer, row, inputs, bias_of(layer, r)), to, r);
    }
}

/* Rows of n-of-m layers are in the order in which PyTorch stores them: channel by channel. */
INLINE const value_t *by_channel(const layer_t *layer, const value_t *picture, value_t *to) {
    int pixels = layer->high * layer->wide;
    for (int at = 0; at < pixels * layer->channels; at++) {
        to[at % layer->channels * pixels + at / layer->channels] = picture[at];
    }
    return to;
}

#endif
