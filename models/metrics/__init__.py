"""Metrics of ranked lists: accuracy.py compares lists with what was taken, beyond.py says what lists are made of.

Every function gives one float64 per unit, so that contenders can be compared unit by unit. No model and no file is touched here.
"""
