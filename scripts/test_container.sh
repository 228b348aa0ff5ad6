#!/usr/bin/env bash
# Build container/Containerfile on a base made from Debian's mirror, and use it as a plant would: a user without rights,
# a read-only file system, enhance, watch and serve. Needs root, buildah, debootstrap, unshare and an index for pip;
# where one of them is not there, it says so and that is all.
#   scripts/test_container.sh [PYTHON]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-python3}
skip() { echo "the container was not tried: $*"; exit 0; }
fail() { echo "error: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || skip "it takes root to make its base"
for tool in buildah debootstrap unshare; do
  command -v "$tool" >/dev/null || skip "no $tool here"
done
unshare --mount true 2>/dev/null || skip "no file systems can be mounted here"
work=$(mktemp -d)
builder() { buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$@"; }
finish() {
  [ -z "${server:-}" ] || pkill -TERM -P "$server" 2>/dev/null || true
  builder umount --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap finish EXIT

debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" http://deb.debian.org/debian >"$work/log" 2>&1 ||
  skip "no base: $(tail -n 1 "$work/log")"
made=$(builder from scratch)
builder add --quiet "$made" "$work/base" / >/dev/null
builder commit --quiet "$made" localhost/base >/dev/null
builder run --isolation chroot "$made" -- true >"$work/log" 2>&1 ||
  skip "the builder cannot run anything here: $(tail -n 1 "$work/log")"
builder rm "$made" >/dev/null
rm -rf --one-file-system "$work/base"

# Packages for the container's own Python, which need not be this one.
mapfile -t needed < <("$python" - "$root/pyproject.toml" <<'PYTHON'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    told = tomllib.load(file)
extras = told["project"]["optional-dependencies"]
print(*told["build-system"]["requires"], *told["project"]["dependencies"], sep="\n")
print(*(need for extra in ("plant", "serve", "dicom", "hdf5") for need in extras[extra]), sep="\n")
PYTHON
)
"$python" -m pip download --quiet --dest "$work/packages" --python-version 3.11 --only-binary :all: \
  -c "$root/constraints.txt" "${needed[@]}" 2>"$work/log" || skip "no packages: $(tail -n 1 "$work/log")"

builder bud --isolation chroot --build-arg BASE=localhost/base --volume "$work/packages:/mnt:ro" --build-arg PACKAGES=/mnt \
  -f "$root/container/Containerfile" -t localhost/longexposure "$root" >"$work/log" 2>&1 ||
  { tail -n 20 "$work/log" >&2; fail "the image could not be built"; }

image=$(builder mount "$(builder from localhost/longexposure)")
size=$(du -s --block-size=1M --apparent-size "$image" | cut -f1)
echo "image: $size MiB"
[ "$size" -le 800 ] || fail "expected an image of at most 800 MiB"
mkdir "$work/in" "$work/out" "$work/data"
chown 1000:1000 "$work/out" "$work/data"
cp "$root/examples/radiographs/ic_5s_view4.tif" "$work/in/"
touch "$work/built"

# As `podman run --read-only --tmpfs /tmp --user 1000`, without a registry or a daemon.
contained() {
  env -i PATH=/opt/longexposure/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LONGEXPOSURE_TOKEN="${token:-}" \
    unshare --mount bash -euc '
      image=$1; work=$2; shift 2
      mount --bind "$image" "$image"
      mount -o remount,bind,ro "$image"
      mount -t tmpfs tmpfs "$image/tmp"
      mount -t proc proc "$image/proc"
      mount --rbind /dev "$image/dev"
      for name in in out data; do mount --bind "$work/$name" "$image/$name"; done
      mount -o remount,bind,ro "$image/in"
      exec chroot --userspec=1000:1000 "$image" "$@"
    ' - "$image" "$work" "$@"
}
contained longexposure --version
contained python3 -c 'import importlib.util as u; assert u.find_spec("torch") is None, "torch is there"'
if contained touch /opt/longexposure/mine 2>/dev/null; then fail "expected a file system that cannot be written"; fi

contained longexposure enhance /in --out /out/enhanced --report /out/report.html
contained longexposure watch /in --out /out/watched --once --settle 0
cmp "$work/out/enhanced/ic_5s_view4.tif" "$work/out/watched/ic_5s_view4.tif" || fail "expected equal bytes of enhance and watch"

token=$("$python" -c 'import secrets; print(secrets.token_urlsafe())')
contained longexposure serve --data /data --host 0.0.0.0 --port 0 >"$work/served" 2>&1 &
server=$!
for _ in $(seq 600); do grep -q "^serving http" "$work/served" && break; sleep 0.1; done
port=$(sed -n 's#^serving http://[^/]*:\([0-9]*\)/.*#\1#p' "$work/served")
[ -n "$port" ] || { cat "$work/served" >&2; fail "expected a server"; }
status=$("$python" - "$port" "$token" "$work" <<'PYTHON'
import sys, urllib.request
from pathlib import Path
port, token, work = sys.argv[1:]
body = Path(work, "in/ic_5s_view4.tif").read_bytes()
asked = urllib.request.Request(
    f"http://127.0.0.1:{port}/enhance?name=ic_5s_view4.tif", body, {"Authorization": f"Bearer {token}"}
)
with urllib.request.urlopen(asked, timeout=120) as answer:
    same = answer.read() == Path(work, "out/enhanced/ic_5s_view4.tif").read_bytes()
print("same" if same else "other")
PYTHON
)
[ "$status" = same ] || fail "expected the bytes of enhance from the server, found $status ones"
kill -TERM "$(pgrep -P "$server")"  # not the shell around it
wait "$server" || fail "expected a server that ends well, found $(cat "$work/served")"

changed=$(find "$image" -xdev -newer "$work/built" ! -type d | head -n 5)
[ -z "$changed" ] || fail "expected no file of the image to change, found $changed"
echo "the container enhances, watches and serves, as a user without rights on a read-only file system"
