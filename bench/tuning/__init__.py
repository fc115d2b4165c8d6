"""Tuning: Optuna studies over the parameters of methods, on validation data, with the same budget for each method."""
