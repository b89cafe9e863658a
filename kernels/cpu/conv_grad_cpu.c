#include "kernels/cpu/grad_cpu.h"
#include "kernels/fill.h"

void MC_CPU(mc_conv_grad_fill)(struct mc_conv_grad_kernels *k)
{
    MC_CPU(mc_conv_dx_fill)(k);
    MC_CPU(mc_conv_dw_fill)(k);
    k->window = MC_CPU(mc_window_grad);
}
