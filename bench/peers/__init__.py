"""Other people's libraries on the very splits that ours are measured on; they live in an environment of their own."""
