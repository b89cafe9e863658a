# Gates: met is 0, missed is 4 with everything printed and reported.
M=$MODELS/fashion-mlp.onnx
C=$MODELS/fashion-lstm.onnx
E="mcompress eval --data fashion-mnist:test --samples 1000 -q"
$E "$M" --require 'top1>=0.88' --require 'top5 > 90%' --require 'loss<0.5'
echo "met: $?"
$E "$M" --require 'top1>=0.95' --report r.json
echo "missed: $?"
grep -A 6 '"gates"' r.json
$E "$M" "$M" --max-drop 0.01 --min-sqnr 100 --require 'cosine>=0.999999' --require 'max_abs<=0'
echo "met: $?"
$E "$M" "$C" --max-drop 0
echo "missed: $?"
$E "$M" "$C" --min-sqnr 60 --json | grep '"message"'
# 0 changes in 50 samples do not prove a drop below 1 %.
mcompress eval -q "$M" "$M" --data fashion-mnist:test --samples 50 --max-drop 1%
echo "missed by its interval only: $?"
