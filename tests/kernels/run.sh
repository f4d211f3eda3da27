#!/usr/bin/env bash
# Check every kernel without Python's module: run.sh COMPILER [EMULATOR ARGUMENT...]
#
#   tests/kernels/run.sh gcc
#   tests/kernels/run.sh aarch64-linux-gnu-gcc qemu-aarch64 -L /usr/aarch64-linux-gnu
#
# Builds csrc/ with setup.py's flags for each instruction set of the compiler's machine and both element types, and
# runs check.c with each. An instruction set that the CPU lacks is built and left out. Each run first commits faults of
# seeded.c on purpose, and fails if they are not reported.
#
# From the environment: PYDL_CFLAGS, more flags; PYDL_ISA, one instruction set alone; PYDL_SEEDED, the faults and the
# words of their reports, "FAULT=WORDS,FAULT=WORDS".
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \?//p' "$0"; exit 2; }
compiler=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Arrays here are small: kernels go parallel 100 times sooner than they should.
cp -r "$root/csrc" "$scratch/csrc"
sed -i 's/PYDL_WORK_SERIAL 1e6/PYDL_WORK_SERIAL 1e4/' "$scratch/csrc/parallel.h"
grep -q 'PYDL_WORK_SERIAL 1e4' "$scratch/csrc/parallel.h" || { echo "run.sh: PYDL_WORK_SERIAL has another value now"; exit 2; }

kernels=$(grep -o 'KERNEL([a-z0-9_]*)' "$root/csrc/kernels.h" | sort -u)
for kernel in $kernels; do
    grep -qF "$kernel" "$here"/check_*.c || { echo "run.sh: $kernel is not checked"; exit 1; }
done

# One line per object file: its name, a tab, the arguments that make it; and the variants into $scratch/variants.
python3 - "$root" "$scratch" "$("$compiler" -dumpmachine)" "$(wc -w <<<"$kernels")" >"$scratch/jobs" <<'END'
import ast, os, pathlib, shlex, sys

root, scratch, machine, kernels = sys.argv[1:]
tables = {}
NAMES = "ISAS", "TYPES", "CFLAGS", "HARDENED", "SIZED", "WRITTEN_OUT", "LEFT_OUT"
for node in ast.parse((pathlib.Path(root) / "setup.py").read_text()).body:
    if isinstance(node, ast.Assign) and node.targets[0].id in NAMES:
        tables[node.targets[0].id] = ast.literal_eval(node.value)
    elif isinstance(node, ast.AugAssign) and node.target.id == "CFLAGS":
        tables["CFLAGS"] += ast.literal_eval(node.value)
csrc, here = pathlib.Path(scratch) / "csrc", pathlib.Path(root) / "tests" / "kernels"
flags = [*tables["CFLAGS"], *tables["HARDENED"], f"-I{csrc}"]
more = shlex.split(os.environ.get("PYDL_CFLAGS", ""))
isas = tables["ISAS"].get(machine.split("-")[0], {"baseline": []})
isas = {isa: isas[isa] for isa in isas if isa == os.environ.get("PYDL_ISA", isa)}
variants = [(isa, kind) for isa in isas for kind in tables["TYPES"] if f"{isa}_{kind}" not in tables["LEFT_OUT"]]


def job(folder, source, arguments):
    print(shlex.join([f"{folder}_{source.stem}.o", *arguments, *more, "-c", str(source)]))


for source in sorted(csrc.glob("*.c")):
    job("common", source, [*flags, "-O2"])
for isa, kind in variants:
    names = [*isas[isa], f"-DPYDL_ISA={isa}", f"-DPYDL_TYPE={kind}"]
    for source in sorted(csrc.glob("kernels/*.c")):
        level = "-Os" if f"{isa}_{kind}" in tables["SIZED"] else "-O2" if source.stem in tables["WRITTEN_OUT"] else "-O3"
        job(f"{isa}_{kind}", source, [*flags, level, *names])
    for source in sorted(here.glob("*.c")):
        job(f"{isa}_{kind}", source, [*flags, "-O2", *names, f"-DKERNELS={kernels}"])
(pathlib.Path(scratch) / "variants").write_text("".join(f"{isa}_{kind}\n" for isa, kind in variants))
END

cd "$scratch"
cores=$(nproc)
xargs -P "$cores" -L 1 sh -c 'object=$1; shift; exec "$0" "$@" -o "$object"' "$compiler" <jobs
while read -r variant; do
    # shellcheck disable=SC2086 # several flags
    "$compiler" -fopenmp ${PYDL_CFLAGS:-} common_*.o "$variant"_*.o -o "$variant" -lm -ldl -pthread
done <variants
export OMP_WAIT_POLICY=passive # more threads than cores, and emulated ones: do not spin

guarded="stepped out of an array"
seeded=${PYDL_SEEDED:-over-read=$guarded,tail-over-read=$guarded,under-write=$guarded}
IFS=, read -r -a seeded <<<"$seeded"
while read -r variant; do
    for fault in "${seeded[@]}"; do
        if env "$@" "./$variant" "${fault%%=*}" >report 2>&1 </dev/null && grep -q "left out" report; then
            continue
        elif ! grep -q "${fault#*=}" report; then
            echo "run.sh: $variant, seeded ${fault%%=*}: the report has no \"${fault#*=}\""
            cat report
            exit 1
        fi
    done
done <variants
xargs -P "$cores" -I VARIANT env "$@" ./VARIANT <variants
