/* Every kernel under test: CHECK_ROW(name) stands for check_name in check_name.c. */
CHECK_ROW(gemm)
CHECK_ROW(conv)
CHECK_ROW(elementwise)
CHECK_ROW(nn)
CHECK_ROW(spatial)
CHECK_ROW(gemm_s8)
CHECK_ROW(conv_s8)
CHECK_ROW(quant)
