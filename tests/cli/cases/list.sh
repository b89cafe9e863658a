# What this program knows, for people and for programs.
mcompress list passes
mcompress list formats | grep -e onnx -e fashion-mnist:test -e '^\.json' -e '^\.html' -e '^\.md' -e '^\.txt'
mcompress list operators | grep -w -e name -e Floor -e Gemm -e ConcatFromSequence | tr -s ' '
mcompress list operators | sed 1d | LC_ALL=C sort -c -k 3,3 -k 1,1 && echo sorted
mcompress list devices | grep -c 'in use'
MCOMPRESS_KERNELS=ref mcompress list devices | grep 'in use' | tr -s ' '
mcompress list passes --json
mcompress list operators --json | grep -c '"name": "Conv"'
