"""What the pages draw: plain functions from values to inline SVG, coloured by classes of the console's one style sheet."""
