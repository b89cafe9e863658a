/* One line a family: void mc_FAMILY_fill_cuda(struct mc_kernels *k). */
MC_CUDA_FILL(optim)
MC_CUDA_FILL(elementwise)
MC_CUDA_FILL(chain)
MC_CUDA_FILL(move)
MC_CUDA_FILL(conv)
MC_CUDA_FILL(window)
MC_CUDA_FILL(spatial)
MC_CUDA_FILL(gemm)
