"""What touches the world, and in which order. Plain functions first; Prefect comes last (lifecycle.py)."""
