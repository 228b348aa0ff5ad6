"""Enhance a NumPy array: uint8, uint16 or float32, (H, W) or a stack (N, H, W)."""

from longexposure import load_enhancer, read_radiograph

pixels = read_radiograph("examples/radiographs/ic_5s_view4.tif").pixels

enhancer = load_enhancer()  # the default model; a name, a .safetensors file or a run's folder work too
enhanced = enhancer.enhance(pixels)
halfway = enhancer.enhance(pixels, strength=0.5)

print(f"before   {pixels.dtype} {pixels.shape}, mean {pixels.mean():.2f}, largest {pixels.max()}")
print(f"enhanced {enhanced.dtype} {enhanced.shape}, mean {enhanced.mean():.2f}, largest {enhanced.max()}")
print(f"halfway  {halfway.dtype} {halfway.shape}, mean {halfway.mean():.2f}, largest {halfway.max()}")
