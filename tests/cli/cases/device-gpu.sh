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

# A driver that is too old, no card, a card that is too old, that another process has, that is full.
show() {
    try $run --device cuda "$@"
    $run -v --json 2>err | grep '"device"'
    cat err
}
(export MC_SIM_DRIVER=none && show)
(export MC_SIM_DRIVER=old && show)
(export MC_SIM_DEVICES=0 && try $run --device cuda && export CUDA_VISIBLE_DEVICES=-1 && try $run --device cuda:0)
(export MC_SIM_DEVICES=2 && try $run --device cuda:2 && mcompress list devices | grep cuda: | tr -s ' ' &&
    $run --device cuda:1 --json | grep '"device"' && MCOMPRESS_DEVICE=cuda:1 mcompress list devices | grep default | tr -s ' ')
(export MC_SIM_CAPABILITY=7.5 && show && mcompress list devices | grep cuda: | tr -s ' ')
(export MC_SIM_CAPABILITY=8.6 && $run --device cuda --json | grep '"device"')
(export MC_SIM_CAPABILITY=12.0 && $run --device cuda --json | grep '"device"')
(export MC_SIM_BUSY=1 && show)
MC_SIM_MEMORY=20000000 try mcompress eval models/fashion-cnn.onnx --data fashion-mnist:test --samples 4 --device cuda |
    sed 's/: [0-9.]* [kM]B of/: … of/'
MC_SIM_MEMORY=4190000 $run --json | grep '"device"' # no room to stage copies there, but for the model

# A kernel that breaks the device, whenever: it is said, nothing is written, and what was there stays.
printf before >out.onnx
where() {
    sed 's/GPU): [^:]*: an/GPU): WHERE: an/' # the call in which it shows
}
for n in 1 2; do
    MC_SIM_FAIL=$n try mcompress svd models/fashion-mlp.onnx --keep 0.2 -o out.onnx --device cuda \
        --data fashion-mnist:test --samples 20 --no-latency | where
done
MC_SIM_FAIL=30 try mcompress finetune models/fashion-mlp.onnx -o out.onnx --device cuda --train fashion-mnist:test \
    --epochs 0.03 --lr 1e-4 --holdout 0 | where
cat out.onnx
echo
ls

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
