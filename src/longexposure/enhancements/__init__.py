"""What enhancing is made of: what is found on an image, and the way of many files through the model."""
