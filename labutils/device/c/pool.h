/* Pooling that is not done with a convolution: the largest, or the average. */
#ifndef POOL_H
#define POOL_H

#include "network.h"
#include "scale.h"

INLINE void pool(const layer_t *layer, int average, const value_t *picture, void *to) {
    for (int y = 0, at = 0; y < layer->down; y++) {
        for (int x = 0; x < layer->across; x++) {
            for (int c = 0; c < layer->channels; c++, at++) {
                const value_t *from = picture + c + layer->channels * (
                    y * layer->stride[0] * layer->wide + x * layer->stride[1]);
                sum_t found = average ? 0 : *from;
                for (int i = 0; i < layer->kernel[0]; i++) {
                    for (int j = 0; j < layer->kernel[1]; j++) {
                        sum_t value = from[(i * layer->wide + j) * layer->channels];
                        found = average ? found + value : value > found ? value : found;
                    }
                }
#ifdef FLOAT32
                found = average ? found / (layer->kernel[0] * layer->kernel[1]) : found;
#endif
                hand_on(layer, c, found, to, at);
            }
        }
    }
}

#endif
