/* Every kernel under test: CHECK_ROW(name) stands for check_name in check_name.c. */
CHECK_ROW(gemm)
CHECK_ROW(conv)
CHECK_ROW(elementwise)
CHECK_ROW(nn)
