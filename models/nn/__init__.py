"""Networks, and how they learn: blocks, rows of embeddings, batches of sequences. Families use them; they know no family."""
