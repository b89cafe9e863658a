# Cards and drivers that cannot be used, memory that is too small, and a kernel that fails: said in one line.
ln -s "$MODELS" models
unset MCOMPRESS_DEVICE MC_SIM_MISSING
export MCOMPRESS_KERNELS=ref MCOMPRESS_CUDA_LIBDIR=
for fault in DRIVER=none DRIVER=old DEVICES=0 CAPABILITY=5.0 BUSY=1 MEMORY=100000 FAIL=1 FAIL=9; do
    echo "--- $fault"
    export "MC_SIM_$fault"
    try mcompress bench models/fashion-cnn.onnx --runs 1 --device cuda | sed \
        -e 's/for [0-9.]* [kM]B more/for … more/' -e 's/: [0-9.]* [kM]B of/: … of/'
    unset "MC_SIM_${fault%=*}"
done
# Without being asked for it, a GPU that cannot be used is none.
MC_SIM_CAPABILITY=5.0 mcompress list devices | grep cuda | tr -s ' '
