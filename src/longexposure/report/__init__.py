"""Pages, plots and pictures of results."""
