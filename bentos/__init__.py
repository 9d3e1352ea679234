"""What serves: bentos (immutable bundles of code, model, item snapshot and digests) and the process that answers from one."""
