/* One image through the network. Each layer is a function of its own that is not inlined, so that
 * its instructions can be counted. */

#include "network.h"

#include "bitmask.h"
#include "connect.h"
#include "convolution.h"
#include "csr.h"
#include "dense.h"
#include "depthwise.h"
#include "gaps.h"
#include "n_of_m.h"
#include "pool.h"

#define LAYER __attribute__((noinline)) static void

#include "weights.h"

void infer(void) {
    for (unsigned i = 0; i < sizeof layers / sizeof *layers; i++) {
        layers[i]();
    }
}
