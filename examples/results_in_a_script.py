"""Call the command line from a script and decide by its results and its exit code."""

import json
import subprocess
import sys

command = [sys.executable, "-m", "longexposure", "enhance", "--json", "-", "--out", "checked"]
files = ["examples/radiographs/ic_5s_view4.tif", "examples/radiographs/missing.tif"]
done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)  # noqa: S603

for result in json.loads(done.stdout):
    if result["error"]:
        print(result["error"])
    elif result["warnings"]:
        print(f"{result['output']}: look at it yourself, {'; '.join(result['warnings'])}")
    else:
        left = result["left_in_flat_areas"]
        print(f"{result['output']}: flat areas are {left:.0%} as rough as before")
print(f"exit code {done.returncode}")
