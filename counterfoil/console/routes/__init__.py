"""What can be asked of the console: a module per part, each a router whose routes name the right that they take."""
