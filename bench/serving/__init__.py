"""What an answer, an event and a release cost, held against the floor of their parts in the same run."""
