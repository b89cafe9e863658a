# Labels that are sequences: connectionist temporal classification, steps first or batch first.
short() { try "$@" | sed "s|$MODELS|MODELS|g"; }
craft sounds 60 x.npy
craft spelling 60 1 y.npy
craft spelling 60 4 wide.npy
craft spelling 60 0 zero.npy
craft idx 60 28 images.idx
craft labels 60 3 labels.idx
for order in batch steps; do
    craft listener $order $order.onnx
    T="--train x.npy:y.npy --lr 0.05 --batch 10 --epochs 40 --holdout 0.2"
    mcompress finetune $order.onnx -o $order-out.onnx $T --report $order.json -q
    grep -m1 -e '"loss": "' $order.json
    grep -e '"loss_why"' $order.json
    # the loss of held-out samples: from above 4 to below 1
    sed -n '/"best": {/,/}/p' $order.json | tr -d ' ,' | awk -F: '
        /"loss"/ { print ($2 < 1) ? "fell" : "stayed at " $2 }
        /"before"/ { print ($2 > 4) ? "from above 4" : "from " $2 }
        /"top1"/ { print }'
done
# What is computed is the same for either order.
sed -n '/"curve"/,/]/p' batch.json >a.txt
sed -n '/"curve"/,/]/p' steps.json >b.txt
grep -c '"step"' a.txt
cmp a.txt b.txt
# Greedy decoding against the labels: nothing wrong after training, for either order.
for order in batch steps; do
    mcompress eval $order-out.onnx $order.onnx --data x.npy:y.npy --require 'label_error_rate<=0.02' --report $order.txt -q
    echo "$?"
    grep 'label errors' $order.txt | sed 's|  *| |g'
    mcompress finetune $order.onnx -o o.onnx $T --data x.npy:y.npy -q --require 'label_error_rate<=2%' --json 2>/dev/null |
        grep label_error_rate
done
rm o.onnx
short mcompress eval batch.onnx --data x.npy:y.npy --require 'label_error_rate<0.5' --blank 1 -q
F="mcompress finetune batch.onnx -o out.onnx"
short $F --train x.npy:wide.npy
short $F --train x.npy:zero.npy
short $F --train x.npy:wide.npy --blank 5
short $F --train x.npy:y.npy --loss ce
short $F --train x.npy:y.npy --balance
short $F --train x.npy --loss ctc
short mcompress eval batch.onnx --data x.npy:y.npy --require 'top1>=0.5'
short mcompress eval batch.onnx --data x.npy --require 'label_error_rate<0.5'
short mcompress finetune "$MODELS/fashion-mlp.onnx" -o out.onnx --train images.idx:labels.idx --loss ctc
short mcompress finetune "$MODELS/fashion-mlp.onnx" -o out.onnx --train images.idx:y.npy
ls
