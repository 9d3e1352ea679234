"""What the supervisor is on one machine, on a cluster: `python -m flows.cluster` makes its objects follow the release table.

It applies services, sends people to them when they are rolled out, takes away what nobody needs any more, and judges challengers
by what all gateways count.
"""
