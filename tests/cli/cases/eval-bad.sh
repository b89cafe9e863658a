# Samples that cannot be used: status 3, one line that names them.
M=$MODELS/fashion-mlp.onnx
craft npy 4 1 14 28 narrow.npy
craft npy 4 3 28 28 colour.npy
craft npy 0 1 28 28 none.npy
craft idx 5 28 images.idx
craft labels 5 99 labels99.idx
craft labels 3 1 labels3.idx
head -c 300 images.idx >cut.idx
try mcompress eval "$M" --data missing.npy 2>&1 | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data fashion-mnits:test | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data narrow.npy | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data colour.npy | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data none.npy | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data images.idx:labels99.idx | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data images.idx:labels3.idx | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data cut.idx | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data images.idx --output nothing | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data images.idx --require 'top1>=0.5' | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data images.idx --preprocess scale=big | sed "s|$MODELS|MODELS|"
try mcompress eval "$M" --data images.idx --rtol 0.1 | sed "s|$MODELS|MODELS|"
# NaN cannot be measured; without anything to measure, its share is told.
craft nan "$M" nan.onnx
craft labels 5 1 labels.idx
try mcompress eval nan.onnx --data images.idx:labels.idx
try mcompress eval nan.onnx --data images.idx --save-outputs outputs.txt
mcompress eval nan.onnx --data images.idx --save-outputs outputs.npz | sed -n 3,7p
test -s outputs.npz || echo 'no outputs.npz'
