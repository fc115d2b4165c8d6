"""Budgets: what a client can afford, and the largest sub-model of each method that fits.

A keep ratio is not a capacity: at keep 0.2 one method's client holds 4 % of the full model's parameters and another's
20 %. A budget limits what a client's sub-model takes (parameters, memory, bytes, operations), and the keep ratio of
each method follows from it, found by counting real sub-models.
"""
