# What cannot be asked for, and models and samples that cannot be quantised: each with its name, or with a choice that is safe.
M=m.onnx
cp "$MODELS/student.onnx" $M
craft listener batch w.onnx
craft sounds 24 a.npy
q() {
    try mcompress quant "$@" -q
}
# No samples.
q $M -o out.onnx
q $M -o out.onnx --form static
q $M -o out.onnx --bits w4a4
q $M -o out.onnx --target bytes=0.5
q $M -o out.onnx --form weight --auto
# Words and numbers.
q $M -o out.onnx --form int8
q $M -o out.onnx --form weight --runtime tflite
q $M -o out.onnx --form weight --method kl
for b in w8a8x w8a1 w9a8 w1 8 a8w8 W8A8 w99999999999a8 ''; do q $M -o out.onnx --bits "$b"; done
for b in 8 65537 x; do q $M -o out.onnx --form weight4 --block $b; done
for r in gtpq fold,,bias ,bias none,bias; do q $M -o out.onnx --form weight --repair "$r"; done
q $M -o out.onnx --percentile 101
q $M -o out.onnx --computed --form weight
q $M -o out.onnx --computed --form bf16
q $M -o out.onnx --form fp16 --bits w8a8
q $M -o out.onnx --form weight --max-drop 1%
q $M -o out.onnx --form weight --keep 0.5
q $M -o out.onnx --form weight --only conv9
q $M -o out.onnx --form weight --only '['
q $M -o out.onnx --form weight --skip .
q $M --form weight
q $M -o $M --form weight
ls
# Weights: blocks longer than the axis, NaN, none at all.
q w.onnx -o out.onnx --form weight4 --block 65536
craft nan w.onnx nan.onnx
q nan.onnx -o out.onnx --form weight
q nan.onnx -o out.onnx --calib a.npy
q nan.onnx -o out.onnx --form fp16
craft zero w.onnx zero.onnx
q zero.onnx -o out.onnx --form weight
q zero.onnx -o out.onnx --calib a.npy
# Samples: NaN, all the same, one alone.
craft npy 4 1 8 5 rank.npy
q w.onnx -o out.onnx --calib rank.npy
craft sounds 0 none.npy
q w.onnx -o out.onnx --calib none.npy
remarks() {
    mcompress quant w.onnx -o out.onnx "$@" -q --report r.txt
    sed -n '/remarks/,/^$/p' r.txt
}
craft silence 4 same.npy
remarks --form static --calib same.npy
remarks --calib same.npy
# Models: quantised, with nothing in them.
mcompress quant w.onnx -o done.onnx --form static --calib a.npy -q
q done.onnx -o out.onnx --form weight
q done.onnx -o out.onnx --calib a.npy
mcompress quant w.onnx -o done.onnx --form weight -q
q done.onnx -o out.onnx --form dynamic
rm out.onnx
craft nested 2 empty.onnx
q empty.onnx -o out.onnx --form weight
q w.onnx -o /dev/full --form weight
q w.onnx -o out.onnx --form static --calib a.npy --stats-out /dev/full
ls
