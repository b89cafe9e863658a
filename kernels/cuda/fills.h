/* One line a family: void mc_FAMILY_fill_cuda(struct mc_kernels *k). */
MC_CUDA_FILL(optim)
