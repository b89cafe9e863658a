# What cannot be asked for, and what cannot be cut: each with its name.
M=mlp.onnx
cp "$MODELS/fashion-mlp.onnx" $M
cp "$MODELS/fashion-cnn.onnx" cnn.onnx
p() {
    try mcompress prune "$@"
}
for k in 0 1.5 -0.1 none /3/Gemm= /3/Gemm=2 /3/gemm=0.5 /7/Gemm=0.5; do
    p $M -o out.onnx --keep=$k
done
p $M -o out.onnx --only '/4/'
p $M -o out.onnx --skip '/3/gem'
p $M -o out.onnx --only '['
p $M -o out.onnx --only '/7/Gemm'
p $M -o out.onnx --skip .
p $M -o out.onnx --keep 0.5 --min-keep 0.5 --max-keep 0.25
p $M -o out.onnx --keep 0.5 --target bytes=0.5
p $M -o out.onnx --target bytes=x
p $M -o out.onnx --target size=1
p $M -o out.onnx --auto
for i in obs taylor fisher activation entropy; do
    p $M -o out.onnx --importance $i
done
p $M -o out.onnx --importance bn
p $M -o out.onnx --steps 3
p $M -o out.onnx --steps 3 --finetune 1
p $M -o out.onnx --steps 3 --finetune 1 --train fashion-mnist:train --auto
p $M -o out.onnx --steps 3 --finetune 1 --train fashion-mnist:train --choices-out c.json
p $M -o out.onnx --steps 3 --finetune 1 --train fashion-mnist:train --target latency=1ms
mcompress prune cnn.onnx --dry-run --target params=0.5 --choices-out c.json -q
p $M -o out.onnx --choices c.json
echo '{"layers": [{"name": "/3/Gemm", "choice": "keep 0 of 512"}]}' >none.json
echo '{"layers": [{"name": "/3/Gemm", "choice": "keep 12 of 500"}]}' >other.json
p $M -o out.onnx --choices none.json
p $M -o out.onnx --choices other.json
echo '{"layers": [{"name": "/3/Gemm", "choice": "keep 12 of 512"}]}' >good.json
p $M -o out.onnx --choices good.json --only /1/
p $M -o out.onnx --choices good.json --keep /3/Gemm=0.5
p $M -o out.onnx --steps 2 --finetune 1 --train fashion-mnist:train --choices none.json
ls
