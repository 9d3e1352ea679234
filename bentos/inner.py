"""What gateway, services and collector say to each other: names of headers, and the token that keeps others out.

The gateway is the one public door. What stands behind it takes requests that carry the token of this installation, and believes
of them which arm they are for; without the token it answers 401 on every route but those of health.
"""

import hmac
import secrets
from pathlib import Path

from counterfoil.errors import ConfigError
from counterfoil.files import write_durably

# of requests, from the gateway to a service
TOKEN = "x-counterfoil-token"
ARM = "x-counterfoil-arm"  # champion, canary or shadow; without it: champion
PROPENSITY = (
    "x-counterfoil-propensity"  # chance with which this person came to that arm, 0 to 1; without it: 1
)
REQUEST = "x-request-id"
DEADLINE = "x-counterfoil-deadline-ms"  # what is left of the caller's time
# of answers, from a service to the gateway; they go on to the caller
RECEIPT = "x-counterfoil-receipt"
RELEASE = "x-counterfoil-release"
BENTO = "x-counterfoil-bento"  # who answers, whatever it serves for by now; for the gateway alone
ITEMS = "x-counterfoil-items"  # how many items the answer holds
DEGRADED = "x-counterfoil-degraded"  # how many sentences `degraded` holds; absent when none
WAITED = "x-counterfoil-waited-ms"  # for which nothing was done for it: no doing of the release; for the gateway alone

TIMING = "server-timing"  # what each step took (W3C Server Timing), where the request is traced; for the gateway alone

DRAWN = "shown to learn whether it is liked"  # the reason of an item that stands where it does by chance

HEALTH = ("/livez", "/readyz")  # open to everybody
FILE = "token"


def make_token(run: Path) -> str:
    """Return the token of an installation, made when there is none; `run` is the folder `settings.run`."""
    path = run / FILE
    if not path.is_file():
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, secrets.token_urlsafe(32).encode())
        path.chmod(0o600)
    return read_token(run)


def read_token(run: Path) -> str:
    """Return the token of an installation. ConfigError when there is none."""
    try:
        token = (run / FILE).read_text().strip()
    except OSError as fault:
        raise ConfigError(f"there is no token in {run} ({fault}); `counterfoil up` makes one") from fault
    if len(token) < 32:
        raise ConfigError(
            f"the token in {run} is too short; remove it, then run `counterfoil up`; on a cluster, run this where it is mounted:"
            " `kubectl exec deploy/releases -- counterfoil ...`"
        )
    return token


def allowed(given: str | None, token: str) -> bool:
    """Say whether a request carries the token, in a time that tells nothing of it."""
    return given is not None and hmac.compare_digest(given.encode(), token.encode())
