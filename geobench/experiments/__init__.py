"""Experiments: grids of trainings and evaluations, such as the tables of a paper."""
