"""What the pages draw: plain functions from values to inline SVG."""
