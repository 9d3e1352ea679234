"""Ranking what retrievers propose: the pool of candidates, the signals about them, the boosted ranker."""
