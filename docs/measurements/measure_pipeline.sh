#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the backend's conformance suite on real TensorRT, then the whole
# pipeline on the full ResNet-50 in three precisions. Usage: measure_pipeline.sh OUT [TIMING_CACHE]
# Needs a python with requirements.lock and requirements-gpu.lock (or TensorRT 8.6) on PATH.
set -uo pipefail
out=${1:?usage: measure_pipeline.sh OUT [TIMING_CACHE]}; cache=${2:-$out/timing.cache}
mkdir -p "$out"; export PYTHONPATH=lib:${PYTHONPATH:-} TRTLAB_BACKEND=tensorrt

python -m pytest -m gpu lib/tests/conformance $(grep -rl mark.gpu lib/tests) -q -p no:cacheprovider --timeout=600 \
    --junitxml="$out/conformance.xml" >"$out/conformance.log" 2>&1
tests=$?
tail -n 60 "$out/conformance.log"

work=$(mktemp -d)
python -m trtlab demo --output "$work" --timing-cache "$cache"
demo=$?
for precision in fp32 fp16 int8; do
    python -m trtlab inspect "$work/resnet50_$precision.engine" --json >"$work/$precision.json"
done
python - "$work" "$out/engines.json" <<'PY'
import json, pathlib, sys
work, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
engines = {}
for precision in ("fp32", "fp16", "int8"):
    sidecar = json.loads((work / f"resnet50_{precision}.engine.json").read_text())
    engines[precision] = {"sidecar": sidecar, "inspector": json.loads((work / f"{precision}.json").read_text())}
target.write_text(json.dumps(engines, indent=1))
PY
cp "$work/results.json" "$work/report.html" "$out/"
tar -C "$work" -czf "$out/figures.tar.gz" figures
exit $((tests || demo))
