"""What learns: families, metrics, splits, fit, evaluate, decide. It knows no framework of the platform."""
