# Where to compute: what is said before any driver is asked, and what a machine without a GPU says. The same on any
# machine: which GPUs there are is tested in device-gpu.
ln -s "$MODELS" models
unset MCOMPRESS_DEVICE
run="mcompress eval models/fashion-mlp.onnx --data fashion-mnist:test --samples 4"
try $run --device gpu
try $run --device cuda:
try $run --device cuda:-1
try $run --device cuda:1x
try $run --device cpu --precision bf16
try $run --precision fp16
MCOMPRESS_DEVICE=tpu try $run
try mcompress bench models/fashion-mlp.onnx --device 0
try mcompress svd models/fashion-mlp.onnx --device cuda

# The environment is asked where the command line says nothing.
MCOMPRESS_DEVICE=cpu $run --json | grep '"device"'
MCOMPRESS_DEVICE=cuda:77 $run --device cpu --json | grep '"device"'
MCOMPRESS_DEVICE=cpu mcompress finetune models/fashion-mlp.onnx --train fashion-mnist:test --epochs 0.005 --lr 1e-4 \
    -o out.onnx --json --no-latency | grep -e '"device"' -e '"gpu"'

# Commands that compute nothing hear no such option, and ask nobody.
try mcompress info models/fashion-mlp.onnx --device cpu
mcompress help eval | grep -A 2 -e --device
mcompress help bench | grep -c -e --device -e --precision
printf 'device: cuda\nsteps: [svd]\n' >recipe.yaml
try mcompress run recipe.yaml models/fashion-mlp.onnx -o out.onnx
