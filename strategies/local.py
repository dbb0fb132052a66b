"""Local: no fusion. Every client trains alone; the baseline that any method has to beat."""

import time

from flwr.app import RecordDict

from ..rounds.protocol import Outcome, RoundPlan, Strategy


class Local(Strategy):
    """Clients train on their own data and exchange nothing."""

    kinds = None

    def round(self, plan: RoundPlan) -> Outcome:
        """Fit, and nothing else."""
        started, outcome = time.perf_counter(), Outcome()
        request = RecordDict({"config": plan.options(**plan.evaluation())})
        replies = plan.fleet.call("train.fit", dict.fromkeys(plan.cohort, request), plan.number)
        outcome.goes_on(outcome.take(replies), "train.fit", plan.min_clients)
        outcome.seconds["fit"] = time.perf_counter() - started
        return outcome
