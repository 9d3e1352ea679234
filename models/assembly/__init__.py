"""What assemblies share: members fitted and asked, what a place in a list is worth, weights, and lists that are balanced."""
