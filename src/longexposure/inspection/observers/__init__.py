"""Observers: who looks at an image and says where a defect is."""
