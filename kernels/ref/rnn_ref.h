/* Recurrent cells, by ONNX's definition. */
#ifndef MC_KERNELS_REF_RNN_REF_H
#define MC_KERNELS_REF_RNN_REF_H

#include "kernels/body_rnn.h"
#include "kernels/nn.h"

void MC_REF(mc_lstm_cell)(const struct mc_lstm_cell *l, struct mc_pool *pool);
void MC_REF(mc_gru_reset)(const struct mc_gru_cell *g, struct mc_pool *pool);
void MC_REF(mc_gru_cell)(const struct mc_gru_cell *g, struct mc_pool *pool);
void MC_REF(mc_rnn_cell)(const struct mc_rnn_cell *r, struct mc_pool *pool);

#endif
