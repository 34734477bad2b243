"""Comparisons of trainings, accuracy on photographs, and the recipe of the shipped weights."""
