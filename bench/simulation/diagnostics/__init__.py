"""What is measured of a round beside accuracy: ranks, coverage, diversity, errors, agreement with FedAvg.

Measuring changes no number of the run.
"""
