#!/usr/bin/env bash
# Build the wheel, install it into an empty environment, use it from another folder. Needs an index for the dependencies.
#   scripts/test_wheel.sh [PYTHON]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work" "$root"
wheel=$(ls "$work"/longexposure-*.whl)
size=$(stat -c %s "$wheel")
echo "$(basename "$wheel"): $((size / 1000)) kB"
[ "$size" -le 25000000 ] || { echo "error: expected a wheel of at most 25 MB" >&2; exit 1; }

"$python" -m venv "$work/env"
"$work/env/bin/pip" install --quiet -c "$root/constraints.txt" "$wheel"
installed=$("$work/env/bin/python" - <<'PYTHON'
from importlib.metadata import distributions
files = [d.locate_file(f) for d in distributions() if d.name not in ("pip", "setuptools") for f in d.files or ()]
print(sum(file.stat().st_size for file in {str(f): f for f in files}.values() if file.is_file()))
PYTHON
)
echo "installed, without pip itself: $((installed >> 20)) MiB"
[ "$installed" -le $((450 << 20)) ] || { echo "error: expected at most 450 MiB" >&2; exit 1; }
mkdir "$work/elsewhere"
cp "$root/examples/radiographs/ic_5s_view4.tif" "$work/elsewhere/shot.tif"
cd "$work/elsewhere"
longexposure() { "$work/env/bin/longexposure" "$@"; }
longexposure --version
longexposure enhance shot.tif --out enhanced --report enhanced.html
longexposure info enhanced/shot.tif >info.txt
longexposure models >models.txt
longexposure machines show S1 >mine.toml
longexposure recipes show own-pairs >training.toml
longexposure recipes list >recipes.txt
longexposure simulate --machine mine.toml --set image.height=96 --set image.width=96 --count 1 --out sets
longexposure evaluate --data sets --model fast --out scores.json
for file in enhanced/shot.tif enhanced.html sets/S1/test/manifest.json scores.json training.toml; do
  [ -s "$file" ] || { echo "error: expected $file" >&2; exit 1; }
done
if longexposure train fast --out run 2>train.txt || ! grep -q "longexposure\[train\]" train.txt; then
  echo "error: expected train to name the extra it needs" >&2; exit 1
fi
grep -q fast-first recipes.txt || { echo "error: expected the recipes that ship" >&2; exit 1; }
grep -q enhance info.txt || { echo "error: expected the history in info" >&2; exit 1; }
echo "the wheel works from another folder"
