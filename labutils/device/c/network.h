/* SimpleCNN for a microcontroller: what all its files share.
 *
 * weights.h is generated: the widths, the weights, and which kernel each layer uses. Everything
 * else is written by hand, once for float32 and int8: with FLOAT32 defined, numbers are floats,
 * else weights and activations are int8 and sums int32.
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

/* The weights of one layer, a row for each filter or neuron. Rows of dense layers have `length`
 * values, a multiple of 4; of sparse ones, values starts[row] to starts[row + 1], and `places`
 * says where in the row they belong, see the kernels. */
typedef struct {
    const value_t *values;
    const start_t *starts;
    const void *places;
    const sum_t *bias;
    const int32_t *multiplier; /* int8 only: from sums to the next layer's activations */
    const uint8_t *shift;
    int rows;
    int length;
    int n, m; /* of n-of-m layers, which have length / m * n values a row and no starts; else 0 */
} layer_t;

#include "weights.h"

#define PICTURE 28
#define DIGITS 10
#define FOURS(n) (((n) + 3) / 4 * 4)

extern value_t image[PICTURE * PICTURE]; /* the caller writes it */
extern sum_t logits[DIGITS];             /* the caller reads it */

#endif
