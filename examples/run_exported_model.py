"""Run an exported model with NumPy and ONNX Runtime alone: this is all that another program must do."""

from importlib.resources import files

import numpy as np
import onnxruntime
import tifffile

model = files("longexposure") / "models" / "weights" / "fast.onnx"  # or your export
session = onnxruntime.InferenceSession(str(model))
grey = tifffile.imread("examples/radiographs/ic_5s_view4.tif").astype(np.float64)
low, high = np.percentile(grey, (1, 99))
sigma, slope = 7.0, 0.3  # of the noise in grey values, as `longexposure info` tells them
s = sigma / (high - low)
noise = [s, (np.log2(s) + 6) / 6, slope * (high - low) / (2 * sigma**2), 0.0, 0.0]
image = np.float32((grey - low) / (high - low))[None, None]  # pad it to multiples of 4 where it is none
(output,) = session.run(None, {"image": image, "noise": np.float32([noise])})
enhanced = grey + (output - image)[0, 0] * (high - low)
before, after = np.diff(grey, axis=0).std(), np.diff(enhanced, axis=0).std()
print(f"neighbouring rows differ by {before:.1f}, now by {after:.1f}")
