"""Networks and filters: what each needs, its checkpoint, and the weights that ship."""
