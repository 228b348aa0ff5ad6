"""What a training is made of: its run folder, its processes, its scores and pictures."""
