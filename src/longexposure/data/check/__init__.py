"""Whether a set of pairs is fit to train on."""
