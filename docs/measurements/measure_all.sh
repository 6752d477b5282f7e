#!/usr/bin/env bash
# Everything here that takes an NVIDIA GPU, one step after the other: each has a log of its own in
# OUT, what is done is in OUT/progress, and a step that fails stops no other. By estimate, more than
# an hour on an H200.
# Usage: measure_all.sh OUT TIMING_CACHE [STEP...]    (TIMING_CACHE is read, and updated)
# Steps: provide pipeline labs inference repeat compare complete, and those of measure_speed.py.
set -uo pipefail
out=${1:?usage: measure_all.sh OUT TIMING_CACHE [STEP...]}; cache=${2:?TIMING_CACHE is missing}; shift 2
here=$(dirname "$0"); mkdir -p "$out"
export PYTHONPATH=$PWD/lib:$PWD/grader:${PYTHONPATH:-} TRTLAB_BACKEND=tensorrt
grader() { local what=$1; shift; python "$here/measure_grader.py" "$what" "$out/grader" "$@"; }

# Packages that were unpacked and not installed are not compiled, and a sandbox keeps nothing that it
# compiles: every kernel would take as long again to start.
packages=$(python -c 'import os, ipykernel; print(os.path.dirname(ipykernel.__path__[0]))')
python -m compileall -q -j 0 "$packages" >"$out/compileall.log" 2>&1 # some are for other Pythons

# The course's engines for these labs, from the timing cache; the grader would time every kernel.
provide() {
    python - "$cache" "$@" <<'PY'
import shutil, sys
from trtlab.lab.artifacts import TIMING_CACHE, provided_folder
from trtlab_grader.provisions import provide
from trtlab_grader.stage import gpu_lease

known = provided_folder() / TIMING_CACHE
known.parent.mkdir(parents=True, exist_ok=True)
if not known.exists():
    shutil.copyfile(sys.argv[1], known)
for lab in map(int, sys.argv[2:]):
    provide(lab, gpu_lease("exclusive"))
    shutil.copyfile(known, sys.argv[1])
    print("lab", lab, flush=True)
PY
}

run() {
    case $1 in
    provide) provide 1 2 3 4 5 6 ;;
    pipeline) bash "$here/measure_pipeline.sh" "$out/pipeline" "$cache" ;;
    labs) python "$here/measure_labs.py" "$out" --warm ;;
    inference) python -m pytest -q -p no:cacheprovider lib/tests/inference ;;
    repeat) provide 1 2 3 4 5 6 && grader class --labs all --students ada-reference --copies 5 ;;
    compare) provide 2 && grader compare --labs 02-build --stock-seconds 600 ;;
    complete) provide 2 && grader complete --labs 02-build ;;
    *) python "$here/measure_speed.py" "$out/speed" --only "$1" --timing-cache "$cache" ;;
    esac
}

[ $# -gt 0 ] || set -- provide pipeline labs inference repeat compare complete sizes latency overhead \
    pinned_ways streaming speedup roofline layers accuracy load int8_peak growth calibration compiled rebuild first_build
for step in "$@"; do
    echo "$(date +%T) start $step" >>"$out/progress"
    run "$step" >"$out/$step.log" 2>&1
    status=$?
    echo "$(date +%T) end $step, status $status" >>"$out/progress"
done
