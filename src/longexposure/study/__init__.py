"""The paper's experiments, one file each, and what they share: budgets, trainings, sets, scores, pages."""
