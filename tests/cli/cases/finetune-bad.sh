# What cannot be trained: named errors, and neither OUT nor anything else is left.
M=$MODELS/fashion-mlp.onnx
F="mcompress finetune $M -o out.onnx"
short() { try "$@" | sed "s|$MODELS|MODELS|g"; }
craft idx 40 28 images.idx
craft labels 40 3 labels.idx
craft labels 40 12 high.idx
craft npy 40 1 14 28 narrow.npy
short $F
short mcompress finetune "$M" --train images.idx:labels.idx
short $F --train missing.idx
short $F --train narrow.npy
short $F --train images.idx
short $F --train images.idx:high.idx
short $F --train images.idx:labels.idx --batch 100
short $F --train images.idx:labels.idx --augment flap
short $F --train images.idx --balance --teacher "$M"
short $F --train images.idx:labels.idx --epochs 0
short $F --train images.idx:labels.idx --freeze .
short $F --train images.idx:labels.idx --freeze '('
short $F --train images.idx:labels.idx --train-only nothing.has.this.name
short $F --train images.idx:labels.idx --loss ctc
short $F --train images.idx:labels.idx --loss kd
short $F --train images.idx:labels.idx --output nowhere
short $F --train images.idx:labels.idx --teacher missing.onnx
short $F --train images.idx:labels.idx --checkpoint-every 3
short $F --train images.idx:labels.idx --checkpoint out.onnx
short $F --train images.idx:labels.idx --checkpoint "$M"
short $F --train images.idx:labels.idx --checkpoint -
short $F --train images.idx:labels.idx --checkpoint /dev/zero
short $F --train images.idx:labels.idx --dump-graph "$M"
short $F --train images.idx:labels.idx --temperature 2
short $F --train images.idx:labels.idx --loss mse --teacher "$M"
short $F --train images.idx:labels.idx --mem 1MB
short $F --train images.idx:labels.idx --head 3 --data images.idx:labels.idx --max-drop 1%
short mcompress finetune "$M" -o "$M" --train images.idx:labels.idx
# A checkpoint of another training, and one that is cut short.
try $F --train images.idx:labels.idx --lr 0.001 --checkpoint c.ckpt -q | sed "s|$MODELS|MODELS|"
rm out.onnx
short $F --train images.idx:labels.idx --lr 0.002 --checkpoint c.ckpt
head -c 1000 c.ckpt >cut.ckpt
short $F --train images.idx:labels.idx --lr 0.001 --checkpoint cut.ckpt
echo garbage >no.ckpt
short $F --train images.idx:labels.idx --lr 0.001 --checkpoint no.ckpt
# Passes and distill.
S="mcompress svd $M -o out.onnx --keep 0.5"
short $S --finetune 1
short $S --batch 5
short $S --teacher "$M"
short $S --finetune 1 --train images.idx:labels.idx --batch 100
short mcompress distill "$M" -o out.onnx --train images.idx
short mcompress distill "$M" -o out.onnx --student missing.onnx --train images.idx
short mcompress distill "$M" -o out.onnx --student "$M"
mcompress finetune "$M" -o twelve.onnx --train images.idx:labels.idx --lr 1e-3 --head 12 -q
short mcompress distill "$M" -o out.onnx --student twelve.onnx --train images.idx
short mcompress distill - -o out.onnx --student - --train images.idx
ls
