"""The feature repository: one transform, offline and online, known to Feast. Heavy imports (feast) happen inside functions."""
