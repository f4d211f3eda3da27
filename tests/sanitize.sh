#!/usr/bin/env bash
# Look for what no result shows: sanitize.sh [PART...], all parts unless some are named.
#
#   kernels-address   the checks of tests/kernels under AddressSanitizer and UndefinedBehaviorSanitizer
#   kernels-thread    the same under ThreadSanitizer, with an OpenMP runtime that it understands
#   kernels-memory    the same under valgrind's memcheck, in the AVX2 build
#   suite-address     pytest under AddressSanitizer and UndefinedBehaviorSanitizer
#   suite-thread      what pytest has on threads, under ThreadSanitizer
#
# Each part first commits faults on purpose (tests/kernels/seeded.c, tests/seeded.py) and fails if its tool does not
# report them. PYTHON names an interpreter that has the test extra; PYTEST_ARGS picks tests of suite-address.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
python=$(command -v "${PYTHON:-$root/.venv/bin/python}" || true)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Python's own CFLAGS have -fwrapv and -DNDEBUG, which hide faults; _FORTIFY_SOURCE hides some from the sanitizers.
plain="-g -O1 -fno-wrapv -UNDEBUG -U_FORTIFY_SOURCE -fno-omit-frame-pointer"
address="$plain -fsanitize=address,undefined -fno-sanitize-recover=undefined"
thread="$plain -fsanitize=thread -Wno-tsan"
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:allocator_may_return_null=1:max_allocation_size_mb=4096
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1

# gcc's OpenMP runtime synchronises in ways that ThreadSanitizer does not see; LLVM's tells it through archer.
use_llvm_openmp() {
    local library
    library=$(echo 'int main(void) { return 0; }' | clang -fopenmp -x c - -o "$scratch/probe" &&
        ldd "$scratch/probe" | sed -n 's/.*libomp[^ ]* => \([^ ]*\) .*/\1/p')
    library=$(readlink -f "$library")
    [ -e "$(dirname "$library")/libarcher.so" ] ||
        { echo "sanitize.sh: needs clang and LLVM's OpenMP (Debian: apt install clang libomp-dev)" && exit 1; }
    mkdir -p "$scratch/openmp"
    ln -sf "$library" "$scratch/openmp/libgomp.so.1"
    export LD_LIBRARY_PATH="$scratch/openmp" OMP_TOOL_LIBRARIES="$(dirname "$library")/libarcher.so"
}

kernels_address() {
    local report="SUMMARY: AddressSanitizer" seeded=
    for fault in over-read under-write pool-over-read pool-use-after-free; do seeded+="$fault=$report,"; done
    PYDL_CFLAGS="$address -DON_HEAP" PYDL_SEEDED="${seeded}overflow=signed integer overflow" tests/kernels/run.sh gcc
}

kernels_thread() (
    use_llvm_openmp
    PYDL_CFLAGS=$thread PYDL_SEEDED="race=data race" tests/kernels/run.sh gcc
)

kernels_memory() {
    command -v valgrind >/dev/null || { echo "sanitize.sh: needs valgrind (Debian: apt install valgrind)" && exit 1; }
    local seeded="over-read=Invalid read,tail-over-read=Invalid read,under-write=Invalid write"
    PYDL_CFLAGS="-g -O1 -DON_HEAP -DKEEPS_DENORMALS" PYDL_ISA=avx2 PYDL_SEEDED="$seeded,unset=uninitialised value" tests/kernels/run.sh \
        gcc valgrind -q --error-exitcode=1 --exit-on-first-error=yes --partial-loads-ok=no
}

# A copy of the tree whose module is built with more flags: copy_built FOLDER FLAGS
copy_built() {
    [ -n "$python" ] || { echo "sanitize.sh: needs a Python with the test extra: make test, or PYTHON=..." && exit 1; }
    mkdir -p "$1"
    tar -c --exclude=./.git --exclude=./.venv --exclude=./build --exclude=./dist --exclude='*.so' . | tar -x -C "$1"
    (cd "$1" && CC=gcc PYDL_CFLAGS=$2 PYDL_LDFLAGS=$2 "$python" setup.py -q build_ext --inplace >build.log 2>&1) ||
        { tail -50 "$1/build.log"; exit 1; }
    export PYTHONPATH="$1:$1/tests" PYTHONMALLOC=malloc
}

# Libraries that have to be there before Python is: preloaded NAME...
preloaded() {
    for name in "$@"; do gcc -print-file-name="$name"; done | tr '\n' ' '
}

# seeded FAULT WORDS: tests/seeded.py must be reported in these words
seeded() {
    if "$python" tests/seeded.py "$1" >"$scratch/report" 2>&1 || ! grep -q "$2" "$scratch/report"; then
        echo "sanitize.sh: seeded $1: the report has no \"$2\"" && cat "$scratch/report" && exit 1
    fi
}

# In the baseline build: AddressSanitizer does not look at the masked loads of the others. Tests that go through all
# instruction sets go through all of them here, too.
suite_address() (
    copy_built "$scratch/address" "$address"
    cd "$scratch/address"
    export PYDL_ISA=baseline OMP_NUM_THREADS=2
    LD_PRELOAD=$(preloaded libasan.so libubsan.so libstdc++.so.6)
    export LD_PRELOAD
    seeded over-read "SUMMARY: AddressSanitizer"
    seeded overflow "signed integer overflow"
    # shellcheck disable=SC2086 # several arguments
    "$python" -m pytest -p no:cacheprovider --capture=sys -m "not check" \
        --deselect tests/test_packaging.py::test_the_wheel_stays_under_two_megabytes \
        --deselect tests/test_process.py::test_ctrl_c_is_answered_within_a_second \
        --deselect tests/test_data_mnist.py::test_full_size_files_in_flat_memory \
        --deselect tests/test_hardened.py::test_the_module_is_hardened ${PYTEST_ARGS:-}
)

suite_thread() (
    use_llvm_openmp
    copy_built "$scratch/thread" "$thread"
    cd "$scratch/thread"
    LD_PRELOAD=$(preloaded libtsan.so)
    export LD_PRELOAD
    seeded race "data race"
    "$python" -m pytest -p no:cacheprovider --capture=sys -m "not check" -k "(thread or team) and not fork" tests/test_process.py \
        tests/test_ops.py tests/test_recurrent.py tests/test_winograd.py tests/test_data_loader.py
)

[ $# -gt 0 ] || set -- kernels-address kernels-thread kernels-memory suite-address suite-thread
for part in "$@"; do
    printf '\n== %s (%d s so far)\n' "$part" "$SECONDS"
    case $part in
    kernels-address | kernels-thread | kernels-memory | suite-address | suite-thread) "${part/-/_}" ;;
    *) sed -n '2,12s/^# \?//p' "$0" && exit 2 ;;
    esac
done
