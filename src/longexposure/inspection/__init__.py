"""What becomes of defects: observers, probability of detection, false finds, worth in exposure time."""
