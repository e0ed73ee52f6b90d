/* Weights in fewer than 8 bits, or in Huffman code: written out as bytes before they are used. */
#ifndef UNPACK_H
#define UNPACK_H

#include "network.h"

enum { PLAIN, BITS_4, BITS_2, TERNARY, HUFFMAN };

/* Numbers one after the other; `at` counts those that were read, or bits of a Huffman code;
 * `rest` is what is left of a byte of ternary ones. */
typedef struct {
    const uint8_t *codes, *lengths, *symbols;
    uint32_t at, rest;
} stream_t;

/* Codes of equal length follow each other, so how many there are of each length, from 1 bit on,
 * and the symbols, those of short codes first, say everything (canonical Huffman code). */
INLINE int next_symbol(stream_t *from) {
    int code = 0, first = 0, index = 0;
    for (const uint8_t *count = from->lengths;; count++, from->at++) {
        code |= from->codes[from->at / 8] >> from->at % 8 & 1;
        if (code - first < *count) {
            from->at++;
            return from->symbols[index + code - first];
        }
        index += *count;
        first = (first + *count) << 1;
        code <<= 1;
    }
}

INLINE int next_value(stream_t *from, int code) {
    if (code == HUFFMAN) {
        return (int8_t)next_symbol(from);
    }
    if (code == TERNARY) { /* five a byte, a 1 above them tells when they are over */
        from->rest = from->rest > 1 ? from->rest : *from->codes++ + 243;
        uint32_t digit = from->rest % 3;
        from->rest /= 3;
        return digit - 1;
    }
    uint32_t at = from->at++;
    int bits = code == BITS_4 ? 4 : 2, in_a_byte = 8 / bits, above = 8 - bits;
    int low = from->codes[at / in_a_byte] >> at % in_a_byte * bits;
    return (int8_t)(low << above) >> above; /* up and down again: the sign fills what is above */
}

/* Write out the next row and the zeros at its end. */
INLINE void unpack_row(const layer_t *layer, int row, stream_t *from, value_t *to) {
    int count = values_in(layer, row), stored = layer->starts ? count : layer->stored;
    for (int i = 0; i < count; i++) {
        int middle = layer->swapped && (i % 4 == 1 || i % 4 == 2); /* 0 2 1 3: see dense.h */
        to[middle ? i ^ 3 : i] = i < stored ? next_value(from, layer->code) : 0;
    }
}

INLINE stream_t values_of(const layer_t *layer) {
    return (stream_t){layer->values, layer->value_lengths, layer->value_symbols, 0, 0};
}

INLINE stream_t places_of(const layer_t *layer) {
    return (stream_t){layer->places, layer->place_lengths, layer->place_symbols, 0, 0};
}

/* Write out everything; return where the places are, behind the weights if they have a code too. */
INLINE const void *unpack(const layer_t *layer, value_t *to) {
    stream_t values = values_of(layer), places = places_of(layer);
    for (int row = 0; row < layer->rows; row++) {
        unpack_row(layer, row, &values, to);
        to += values_in(layer, row);
    }
    if (!layer->place_symbols) {
        return layer->places;
    }
    for (int i = 0; i < layer->starts[layer->rows]; i++) {
        to[i] = next_symbol(&places);
    }
    return to;
}

#endif
