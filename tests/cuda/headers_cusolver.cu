/* Included by headers.cu where cuSOLVER's header is. */
#include <cusolverDn.h>

#include "kernels/cuda/lib_cusolver.h"

FITS(mc_cusolver, cusolverDnCreate);
FITS(mc_cusolver, cusolverDnDestroy);
FITS(mc_cusolver, cusolverDnSetStream);
FITS(mc_cusolver, cusolverDnSgeqrf_bufferSize);
FITS(mc_cusolver, cusolverDnSgeqrf);
FITS(mc_cusolver, cusolverDnSorgqr_bufferSize);
FITS(mc_cusolver, cusolverDnSorgqr);
FITS(mc_cusolver, cusolverDnSgesvd_bufferSize);
FITS(mc_cusolver, cusolverDnSgesvd);
FITS(mc_cusolver, cusolverDnSsyevd_bufferSize);
FITS(mc_cusolver, cusolverDnSsyevd);
IS(MC_CUSOLVER_SUCCESS, CUSOLVER_STATUS_SUCCESS);
IS(MC_CUSOLVER_VECTORS, CUSOLVER_EIG_MODE_VECTOR);
IS(MC_CUSOLVER_UPPER, CUBLAS_FILL_MODE_UPPER);
