/* The network's arithmetic, for WebAssembly with SIMD.

   Twenty images are read side by side: whatever is one number in PyTorch is twenty here, in the same
   order (channel, row, column). A weight is fetched once for all twenty, and one that is zero is not
   in the list: pruning really saves the time. */

#include <wasm_simd128.h>

#define API __attribute__((visibility("default")))

enum { VECTORS = 5, LANES = 4 * VECTORS }; /* five registers of four images: measured; as in network.js */

typedef struct {
    int place; /* of the input it multiplies, behind the first one under the filter */
    float weight;
} Entry;

static inline void sum_up(v128_t *sum, const float *in, const Entry *entry, const Entry *end,
                          float bias) {
    v128_t total[VECTORS];
    for (int v = 0; v < VECTORS; v++) total[v] = wasm_f32x4_splat(bias);
    for (; entry < end; entry++) {
        const float *from = in + entry->place;
        v128_t weight = wasm_f32x4_splat(entry->weight);
        for (int v = 0; v < VECTORS; v++)
            total[v] = wasm_f32x4_add(total[v], wasm_f32x4_mul(weight, wasm_v128_load(from + 4 * v)));
    }
    for (int v = 0; v < VECTORS; v++) sum[v] = total[v];
}

/* A convolution, or a linear layer (one row, one column), with the pooling and ReLU behind it.

   starts[f] to starts[f + 1] are filter f's entries. `width` is that of the (padded) input,
   `pool` the side of the squares whose largest number stays, `least` 0 for ReLU, or -infinity. */
API void weigh(const float *in, float *out, const Entry *entries, const int *starts,
               const float *bias, int filters, int rows, int columns, int width, int stride,
               int pool, float least) {
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) /* all filters here: what they read stays in the cache */
            for (int f = 0; f < filters; f++) {
                v128_t best[VECTORS], sum[VECTORS];
                for (int v = 0; v < VECTORS; v++) best[v] = wasm_f32x4_splat(least);
                for (int d = 0; d < pool * pool; d++) {
                    int row = (y * pool + d / pool) * stride, column = (x * pool + d % pool) * stride;
                    sum_up(sum, in + (row * width + column) * LANES, entries + starts[f],
                           entries + starts[f + 1], bias[f]);
                    for (int v = 0; v < VECTORS; v++) best[v] = wasm_f32x4_pmax(best[v], sum[v]);
                }
                float *to = out + ((f * rows + y) * columns + x) * LANES;
                for (int v = 0; v < VECTORS; v++) wasm_v128_store(to + 4 * v, best[v]);
            }
}
