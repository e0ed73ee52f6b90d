/* The network's arithmetic, for WebAssembly with SIMD.

   Twenty images are read side by side: whatever is one number in PyTorch is twenty here, in the
   same order (channel, row, column). A weight is fetched once for all twenty, and one that is zero
   is not in the list: pruning really saves the time. */

#include <wasm_simd128.h>

enum { VECTORS = 5, LANES = 4 * VECTORS }; /* registers of four images: measured; as in network.js */

typedef struct {
    int place; /* of the input it multiplies, behind the first one under the filter */
    float weight;
} Entry;

/* A convolution, or a linear layer (one row, one column), with the pooling and ReLU behind it.
   starts[f] to starts[f + 1] are filter f's entries. Lines and planes are as long as they lie in
   memory, margins included. network.js writes this in the same order. */
typedef struct {
    const float *in;
    float *out;
    const Entry *entries;
    const int *starts;
    const float *bias;
    int filters, rows, columns, line, stride; /* of what comes out; of the input */
    int pool, hop;                            /* side of the squares whose largest stays, step */
    int out_line, out_plane, relu;
} Step;

static inline void sum_up(v128_t *sum, const float *in, const Entry *entry, const Entry *end,
                          float bias) {
    v128_t total[VECTORS];
    for (int v = 0; v < VECTORS; v++) total[v] = wasm_f32x4_splat(bias);
    for (; entry < end; entry++) {
        const float *from = in + entry->place;
        v128_t weight = wasm_f32x4_splat(entry->weight);
        for (int v = 0; v < VECTORS; v++)
            total[v] = wasm_f32x4_add(total[v],
                                      wasm_f32x4_mul(weight, wasm_v128_load(from + 4 * v)));
    }
    for (int v = 0; v < VECTORS; v++) sum[v] = total[v];
}

__attribute__((visibility("default"))) void weigh(const Step *s) {
    for (int y = 0; y < s->rows; y++)
        for (int x = 0; x < s->columns; x++)        /* all filters here: what they read stays */
            for (int f = 0; f < s->filters; f++) {  /* in the cache */
                v128_t best[VECTORS], sum[VECTORS];
                for (int v = 0; v < VECTORS; v++)
                    best[v] = wasm_f32x4_splat(s->relu ? 0 : -__builtin_inff());
                for (int d = 0; d < s->pool * s->pool; d++) {
                    int row = (y * s->hop + d / s->pool) * s->stride;
                    int column = (x * s->hop + d % s->pool) * s->stride;
                    sum_up(sum, s->in + (row * s->line + column) * LANES,
                           s->entries + s->starts[f], s->entries + s->starts[f + 1], s->bias[f]);
                    for (int v = 0; v < VECTORS; v++) best[v] = wasm_f32x4_pmax(best[v], sum[v]);
                }
                float *to = s->out + (f * s->out_plane + y * s->out_line + x) * LANES;
                for (int v = 0; v < VECTORS; v++) wasm_v128_store(to + 4 * v, best[v]);
            }
}
