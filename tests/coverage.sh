#!/usr/bin/env bash
# Count the lines of csrc/ that the tests run, every instruction set's build merged: coverage.sh [LEAST PERCENT]
#
# Builds the module of a copy of the tree with gcc --coverage, runs the tests with it, and fails below the least
# percentage. PYTHON names an interpreter that has the test extra; PYTEST_ARGS picks tests.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
least=${1:-95}
python=$(command -v "${PYTHON:-$root/.venv/bin/python}") ||
    { echo "coverage.sh: needs a Python with the test extra: make test, or PYTHON=..." && exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

tar -c --exclude=./.git --exclude=./.venv --exclude=./build --exclude=./dist --exclude='*.so' . | tar -x -C "$scratch"
cd "$scratch"
CC=gcc PYDL_CFLAGS="-g -O1 --coverage" PYDL_LDFLAGS=--coverage "$python" setup.py -q build_ext --inplace >build.log 2>&1 ||
    { tail -50 build.log; exit 1; }
# shellcheck disable=SC2086 # several arguments
PYTHONPATH=$scratch:$scratch/tests "$python" -m pytest -p no:cacheprovider -m "not check" \
        --deselect tests/test_packaging.py::test_the_wheel_stays_under_two_megabytes \
        --deselect tests/test_process.py::test_ctrl_c_is_answered_within_a_second \
        --deselect tests/test_hardened.py::test_the_module_is_hardened ${PYTEST_ARGS:-}
"$python" tests/lines.py build "$least"
