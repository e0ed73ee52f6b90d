/* A network for a microcontroller: what all its files share.
 *
 * weights.h is generated: the weights, and a function for each layer that says which kernel it
 * uses. Everything else is written by hand, once for float32 and int8: with FLOAT32 defined,
 * numbers are floats, else weights and activations are int8 and sums int32.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

/* Inlined where it is called with constants, a loop knows its length and a layer its arrays. */
#define INLINE static inline __attribute__((always_inline))

#ifdef FLOAT32
typedef float value_t;  /* a weight or an activation */
typedef float column_t; /* an activation laid out for a convolution */
typedef float sum_t;
#else
typedef int8_t value_t;
typedef int16_t column_t; /* two fit a register, as SMLAD wants them */
typedef int32_t sum_t;
#endif

#ifdef WIDE_STARTS /* for more than 65,535 weights in one sparse layer */
typedef uint32_t start_t;
#else
typedef uint16_t start_t;
#endif

/* Pictures lie in memory pixel by pixel, the channels of a pixel side by side. */
typedef struct {
    int channels, high, wide; /* of the picture that is read */
    int rows;                 /* filters or neurons */
    int across, down;         /* positions of a filter, before any pooling */
    int kernel[2], stride[2], padding[2];
    int groups; /* of a convolution: as many as channels if it is depthwise */
    int relu;
    int pooled; /* whether the largest of 2 x 2 sums goes on */
    int last;   /* whether the sums are the answer */

    /* The weights, a row for each filter or neuron, zeros at its end that make `length` a multiple
     * of 4; or, sparse, values starts[row] to starts[row + 1], and `places` says where in the row
     * they belong, see the kernels. */
    const void *values;
    const start_t *starts;
    const void *places;
    int length;
    int place_bytes, row_bytes; /* of places: for each value, and for each row */
    int n, m; /* of n-of-m layers, which have length / m * n values a row; else 0 */

    /* Weights that are not stored as bytes, see unpack.h: how they are written, how many a row
     * without those zeros, whether they go in the order of SMLAD, the tables of Huffman codes. */
    int code, stored, swapped;
    const uint8_t *value_lengths, *value_symbols, *place_lengths, *place_symbols;

    const void *bias; /* with so many bits more at its end, zeros */
    int bias_bytes, bias_shift;
    const void *multiplier; /* int8 only: from sums to the next layer's activations */
    int multiplier_bytes, multipliers;
    const uint8_t *shift;
    int narrow; /* whether a scaled sum fits 32 bits */
} layer_t;

/* One row's weights, from start to end, as bytes or floats, wherever they lie. */
typedef struct {
    const value_t *weights;
    const void *places;
    int start, end;
} row_t;

#define FOURS(n) (((n) + 3) / 4 * 4)

INLINE int values_in(const layer_t *layer, int row) {
    int whole = layer->m ? layer->length / layer->m * layer->n : layer->length;
    return layer->starts ? layer->starts[row + 1] - layer->starts[row] : whole;
}

INLINE row_t find_row(const layer_t *layer, int row, const value_t *weights, const void *places) {
    int start = layer->starts ? layer->starts[row] : row * values_in(layer, row);
    places = (const uint8_t *)places + row * layer->row_bytes;
    return (row_t){weights, places, start, start + values_in(layer, row)};
}

#endif
