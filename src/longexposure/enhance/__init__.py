"""The one way from pixels to enhanced pixels: arrays, files and folders."""
