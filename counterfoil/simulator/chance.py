"""Where chance comes from: one independent stream per purpose, and a stateless hash for what no state may carry."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Purposes of chance; each has a stream of its own, so that changing one leaves the others as they were."""

    ITEMS = 1
    PEOPLE = 2
    DRIFT = 3
    CYCLES = 4
    PILOT = 5
    VOLUME = 6
    CHUNK = 7
    FAULT = 8
    VISITORS = 9
    REACTION = 10


def generator(seed: int, stream: Stream, *parts: int) -> np.random.Generator:
    """Return the generator of a purpose: the same seed, stream and parts give the same numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, int(stream), *parts))))


def hashed(seed: int, *keys_N: np.ndarray | int) -> np.ndarray:
    """Return a number in [0, 1) per row that depends on the keys alone (the mixer of splitmix64, Steele et al. 2014)."""
    state_N = np.asarray(seed, np.uint64)
    with np.errstate(over="ignore"):
        for key_N in keys_N:
            state_N = (state_N + np.asarray(key_N).astype(np.uint64)) * np.uint64(
                0x9E3779B97F4A7C15
            ) + np.uint64(1)
            state_N = (state_N ^ (state_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state_N = (state_N ^ (state_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state_N = state_N ^ (state_N >> np.uint64(31))
    return (state_N >> np.uint64(11)) * 2.0**-53
