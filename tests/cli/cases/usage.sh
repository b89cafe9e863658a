# Wrong command lines: one line that says what to do, status 2.
try mcompress
try mcompress frobnicate
try mcompress evla m.onnx
try mcompress --threads 1 info m.onnx
try mcompress info
try mcompress info a b
try mcompress info --treads 1 a
try mcompress eval a
try mcompress eval a --data x --threads many
try mcompress eval a --data x --threads=-1
try mcompress eval a --data
try mcompress eval a --data x --report r.pdf
try mcompress eval a --data x --max-drop 0.01
try mcompress eval a --data x --require 'top2>=0.5'
try mcompress eval a --data x --require 'top1=0.5'
try mcompress eval a --data x --require 'top1>=nan'
try mcompress eval a --data x --require 'cosine>=0.9'
try mcompress list
try mcompress list colours
try mcompress help frobnicate
try mcompress svd in.onnx
try mcompress svd in.onnx -o out.onnx --keep 2
try mcompress svd in.onnx -o out.onnx --kepe 0.5
try mcompress svd in.onnx -o out.onnx --max-drop 0.01
try mcompress svd in.onnx -o - --json
cp "$MODELS"/fashion-mlp.onnx same.onnx
ln -s same.onnx link.onnx
try mcompress svd same.onnx -o same.onnx --keep 0.5
try mcompress svd same.onnx -o link.onnx --keep 0.5
try mcompress svd same.onnx -o out.onnx --report ./same.onnx --keep 0.5
try mcompress svd same.onnx -o out.txt --report out.txt --keep 0.5
cmp same.onnx "$MODELS"/fashion-mlp.onnx
ls
