/* One line a library: its functions are the table mc_fake_NAME in fake_NAME.cpp. */
MC_FAKE_LIB(cublas)
MC_FAKE_LIB(cublasLt)
MC_FAKE_LIB(cudnn)
MC_FAKE_LIB(cufft)
MC_FAKE_LIB(cusolver)
