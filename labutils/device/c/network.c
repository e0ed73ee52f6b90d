/* One image through the network. Each layer is a function of its own that is not inlined, so
 * that its instructions can be counted. */

#include "network.h"

#include "bitmask.h"
#include "convolution.h"
#include "csr.h"
#include "dense.h"
#include "gaps.h"
#include "n_of_m.h"

#define LAYER __attribute__((noinline)) static void
#define LONGEST (CONV2_LENGTH > CONV1_LENGTH ? CONV2_LENGTH : CONV1_LENGTH)

value_t image[PICTURE * PICTURE];
sum_t logits[DIGITS];

static value_t middle[14 * 14 * CONV1_ROWS];
static value_t features[FC1_LENGTH]; /* what is behind the last one stays zero */
static value_t hidden[FC2_LENGTH];
static column_t columns[4 * LONGEST];

LAYER conv1(void) {
    convolve(&conv1_layer, CONV1_ROW, CONV1_SPARSE, image, PICTURE, 1, columns, middle, 0);
}

LAYER conv2(void) {
    convolve(&conv2_layer, CONV2_ROW, CONV2_SPARSE, middle, PICTURE / 2, CONV1_ROWS, columns,
             features, fc1_layer.m ? PICTURE / 4 * (PICTURE / 4) : 0);
}

LAYER fc1(void) {
    for (int row = 0; row < FC1_ROWS; row++) {
        hidden[row] = activate(&fc1_layer, row, FC1_ROW(&fc1_layer, row, features));
    }
}

LAYER fc2(void) {
    for (int row = 0; row < FC2_ROWS; row++) {
        logits[row] = FC2_ROW(&fc2_layer, row, hidden);
    }
}

void infer(void) {
    conv1();
    conv2();
    fc1();
    fc2();
}
