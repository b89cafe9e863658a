# A GPU, as the simulation has one: found, chosen, told of; and everything that can be wrong with it.
ln -s "$MODELS" models
unset MCOMPRESS_DEVICE MC_SIM_MISSING
export MCOMPRESS_KERNELS=ref MCOMPRESS_CUDA_LIBDIR=
run="mcompress eval models/fashion-mlp.onnx --data fashion-mnist:test --samples 4"
mcompress list devices | grep -e cuda:0 -e device | tr -s ' '
MCOMPRESS_DEVICE=cpu mcompress list devices | grep cuda:0 | tr -s ' '
mcompress list devices --json | sed -n '/cuda:0/,/}/p'

# By itself, and by name.
$run --json | grep -e '"device"' -e '"name": "sim' -e '"precision"'
$run --device cuda:0 --precision tf32 --json | grep -e '"device"' -e '"precision"'
$run --device cpu --json | grep -e '"device"' -e '"gpu"'
$run -v 2>&1 >/dev/null
$run --report r.xml --report r.md -q && grep -c gpu r.xml && grep -c 'cuda:0, simulated GPU, fp32' r.md
mcompress bench models/fashion-mlp.onnx --runs 1 | grep -o 'samples per second on cuda:0'
mcompress finetune models/fashion-mlp.onnx --train fashion-mnist:test --epochs 0.01 --lr 1e-4 -o out.onnx --no-latency \
    --holdout 0 | grep -o 'samples per second on cuda:0'
mcompress svd models/fashion-mlp.onnx --keep 0.2 -o out.onnx | grep -o 'batch 1, cuda:0, random inputs'

# Numbers that are not there.
try $run --device cuda:1
CUDA_VISIBLE_DEVICES=5 try $run --device cuda:3

# No driver: the CPU does it, unless the GPU was asked for.
export MC_SIM_MISSING=cuda
mcompress list devices | grep cuda | tr -s ' '
$run -v --json 2>err | grep '"device"'
cat err
try $run --device cuda
mcompress svd models/fashion-mlp.onnx --keep 0.2 -o none.onnx --device cuda:0
echo "$?"
ls none.onnx 2>&1
mkdir dir && cp models/fashion-mlp.onnx dir && try mcompress batch svd:keep=0.2 dir -o small --device cuda
unset MC_SIM_MISSING

# Libraries: those of another generation, of a wrong version and broken ones are refused, and what is done without is said.
libraries() {
    MCOMPRESS_CUDA_LIBDIR=$PWD/lib mcompress list devices | grep -e "$1 " | tr -s ' ' | sed "s|$PWD/||"
}
mkdir lib
export MC_SIM_MISSING='cublas cublasLt cudnn cufft cusolver'
libraries cuDNN
cp "$STUB" lib/libcudnn.so.9
STUB_VERSION=9 STUB_CUDART=13000 libraries cuDNN
STUB_VERSION=8 STUB_CUDART=13000 libraries cuDNN
STUB_VERSION=9 STUB_CUDART=12080 libraries cuDNN
cp "$STUB" lib/libcublas.so.12
STUB_VERSION=12 libraries cuBLAS
cp "$STUB" lib/libcublas.so.13
STUB_VERSION=13 libraries cuBLAS
cp "$STUB" lib/libcusolver.so.12
STUB_VERSION=12 libraries cuSOLVER
printf broken >lib/libcufft.so.12
libraries cuFFT
