# The same samples to guide and to judge: a warning and a flag.
M=$MODELS/fashion-mlp.onnx
S="mcompress svd $M -o out.onnx --keep 0.5 --samples 100 --report r.json"
$S --data fashion-mnist:test --calib fashion-mnist:test >/dev/null
grep '"overlap"' r.json
$S --data fashion-mnist:test --calib fashion-mnist:train >/dev/null
grep '"overlap"' r.json
# --preprocess stays with the model, and eval follows it.
$S --data fashion-mnist:test --preprocess scale=1/255,mean=0,std=1 >/dev/null
mcompress info out.onnx --json | grep preprocess
mcompress eval out.onnx --data fashion-mnist:test --samples 10 --json | grep preprocess
# Samples that only the teacher answers for count as well.
mcompress finetune $M -o out.onnx --epochs 0.001 --lr 1e-6 --train fashion-mnist:train --unlabelled fashion-mnist:test --teacher $M --data fashion-mnist:test --samples 100 --report r.json >/dev/null
grep '"overlap"' r.json
