"""What a run asks and spends, and the limits on both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geobench.errors import GeobenchError, SettingError

if TYPE_CHECKING:
    from geobench.services.contract import Asking, Photo, Reply, Service


GOES_ON = "What was answered is kept; the same command with a higher limit goes on."


class BudgetError(GeobenchError):
    """A run reached what it may ask or spend; what was answered is kept."""


def price_of(config: Any, tokens_in: float, tokens_out: float) -> float:
    """Return what these tokens cost by the stated prices per million."""
    return float((tokens_in * config.price_in + tokens_out * config.price_out) / 1e6)


def cost_of(config: Any, reply: Reply) -> float | None:
    """Return what ``reply`` cost; None if the service does not say how many tokens it counts."""
    if reply.tokens_in is None or reply.tokens_out is None:
        return None
    return price_of(config, reply.tokens_in, reply.tokens_out)


class Budget:
    """Requests and cost of a run. What is under way is reserved, so that many at a time do not exceed a limit.

    Attributes:
        requests: sent so far, attempts that failed included.
        cost: of the replies so far; one without a count of tokens, or after a timeout, is taken at its estimate.
    """

    def __init__(self, asking: Asking, model: Service) -> None:
        config = model.config
        if asking.max_cost is not None and not config.price_in and not config.price_out:
            raise SettingError(
                f"a limit on cost needs the prices of {model.name} per million tokens: "
                "--set price_in=2.5 --set price_out=10"
            )
        self._asking, self._model, self._config = asking, model, config
        self._reserved = self._largest = 0.0
        self.requests, self.cost = 0, 0.0

    def reserve(self, photo: Photo) -> float:
        """Return the cost that is set aside for one request about ``photo``.

        Raises:
            BudgetError: it would exceed a limit.
        """
        limit = self._asking.max_requests
        if limit is not None and self.requests >= limit:
            raise BudgetError(f"{self._model.name}: {limit:,} requests are sent, the limit of this run. {GOES_ON}")
        expected = max(self._largest, price_of(self._config, *self._model.expected_tokens(photo)))
        most = self._asking.max_cost
        if most is not None and self.cost + self._reserved + expected > most:
            raise BudgetError(
                f"{self._model.name}: {self.cost:.4g} is spent, and another request (at most {expected:.2g}) could "
                f"exceed the limit of {most:g}. {GOES_ON}"
            )
        self.requests += 1
        self._reserved += expected
        return expected

    def settle(self, reserved: float, reply: Reply | None, *, billed: bool = True) -> None:
        """Count what a request cost: by its reply, as ``reserved`` if that does not say, nothing if not ``billed``."""
        self._reserved -= reserved
        stated = cost_of(self._config, reply) if reply is not None else None
        spent = (reserved if stated is None else stated) if billed else 0.0
        self.cost += spent
        self._largest = max(self._largest, spent)

    def figures(self) -> dict[str, str]:
        """Return what progress shows."""
        cost = {"cost": f"{self.cost:.4g}"} if self.cost else {}
        return {"requests": f"{self.requests:,}"} | cost
