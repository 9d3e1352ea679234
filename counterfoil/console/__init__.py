"""The console: pages that a person reads what happened on, and steers by, in a browser."""
