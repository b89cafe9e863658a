# The same bytes again and for any number of threads; chains, targets, gates, batches.
M=$MODELS/student.onnx
D='--calib fashion-mnist:train --calib-count 16'
for t in 1 2 3; do
    mcompress quant "$M" -o static$t.onnx --form static $D --threads $t -q --no-history
    cmp static$t.onnx static1.onnx
done
for t in 1 3; do
    mcompress quant "$MODELS/fashion-cnn.onnx" -o auto$t.onnx $D --threads $t -q --no-history
    cmp auto$t.onnx auto1.onnx
done
mcompress run quant:form=static "$M" -o chain.onnx $D -q --no-history
cmp chain.onnx static1.onnx
printf 'steps:\n  - quant: {form: static, repair: none}\n' >r.yaml
mcompress run r.yaml "$M" -o chain.onnx $D -q --no-history
mcompress quant "$M" -o none.onnx --form static --repair none $D -q --no-history
cmp chain.onnx none.onnx
# Cut, quantised, trained through the rounding; what the model remembers of it.
T='--train fashion-mnist:train --holdout 0'
mcompress run 'prune:keep=0.5,quant:form=static,finetune:epochs=0.01,lr=0.001' "$M" -o chain.onnx $T $D -q --threads 1
mcompress info chain.onnx | sed -n '/history/,/^$/p' | sed 's/: .*,/: …,/'
mcompress info chain.onnx | grep -o 'DequantizeLinear\|QuantizeLinear' | sort -u
mcompress run 'prune:keep=0.5,quant:form=static,finetune:epochs=0.01,lr=0.001' "$M" -o again.onnx $T $D -q --threads 2
cmp chain.onnx again.onnx
mcompress quant "$M" -o q.onnx --bits w4a4 --finetune 0.01 $T $D -q --report r.json
grep -c '"updates"' r.json
mcompress finetune q.onnx -o f.onnx --epochs 0.01 $T --teacher "$M" -q
cmp -s q.onnx f.onnx && echo 'nothing was trained'
ls -l q.onnx f.onnx | awk '{ s[NR] = $5 } END { d = s[1] - s[2]; print (d < 500 && d > -500 ? "as large" : "sizes " s[1] " " s[2]) }'
# The smallest file that keeps the answer is no larger than the fastest.
mcompress quant "$MODELS/fashion-cnn.onnx" -o least.onnx $D --minimise bytes -q
[ "$(wc -c <least.onnx)" -le "$(wc -c <auto1.onnx)" ] || echo 'least is more'
# A target in bytes is met, or the least is taken.
for t in bytes=12k bytes=0.5; do
    mcompress quant "$M" -o t.onnx $D --target $t -q
    wc -c <t.onnx | awk -v t=$t '{ print t, ($1 <= (t ~ /k/ ? 12000 : 13543) && $1 > 6000 ? "met" : "missed: " $1) }'
done
mcompress quant "$M" -o t.onnx $D --target bytes=1k -q 2>err
echo "$?"
sed 's/least is .*/least is …/' err
ls -1 t.onnx
cp "$M" m.onnx
try mcompress quant m.onnx -o t.onnx $D --target macs=0.5
# A gate that is missed: the model is written.
M=$MODELS/fashion-mlp.onnx
mcompress quant "$M" -o gate.onnx --form weight4 --bits w2 --data fashion-mnist:test --samples 200 --max-drop 0.1% -q 2>/dev/null
echo "$?"
ls -1 gate.onnx
mcompress quant "$M" -o gate.onnx --form weight --data fashion-mnist:test --samples 200 --require 'top1>=0.8' -q
echo "$?"
# Every model of a folder; one that has nothing to quantise does not stop the others.
mkdir in
cp "$MODELS/student.onnx" in/a.onnx
craft listener batch in/b.onnx
cp static1.onnx in/c.onnx
mcompress batch quant:form=weight in -o out -q 2>&1 | sed 's/[0-9.]* s$/N s/'
ls out
