"""Strategies that break one promise each; `fedkd check` must say which. Used by tests."""

import time

import torch
from fedkd.strategies import FusionStrategy, Outcome
from fedkd.strategies.parametric import ParameterFusion
from flwr.app import RecordDict


class NoDefault(FusionStrategy):
    """Needs a parameter."""

    def __init__(self, beta, **base):
        super().__init__(**base)
        self.beta = beta

    def fuse(self, knowledge):
        """Return the mean."""
        return knowledge.soft_labels.mean(dim=0)


class Mean(FusionStrategy):
    """Nothing is wrong with it; the others break something of it."""

    def fuse(self, knowledge):
        """Return the mean."""
        return knowledge.soft_labels.mean(dim=0)


class Telepathy(Mean):
    """Exchanges what does not exist."""

    exchange = "thoughts"


class OneClassLess(Mean):
    """Forgets a class."""

    def fuse(self, knowledge):
        """Return ``[samples, classes - 1]``."""
        return super().fuse(knowledge)[:, 1:]


class Prose(Mean):
    """Returns no tensor."""

    def fuse(self, knowledge):
        """Return words."""
        return "the mean"


class BelowZero(Mean):
    """Returns negative soft labels."""

    def fuse(self, knowledge):
        """Return values below 0."""
        return super().fuse(knowledge) - 0.2


class TooHeavy(FusionStrategy):
    """Has weights that do not sum to 1."""

    def weights(self, knowledge):
        """Return ones."""
        return torch.ones(len(knowledge.clients), len(knowledge.clients))


class Favourite(Mean):
    """Likes the first client best."""

    def fuse(self, knowledge):
        """Return what the first client says."""
        return knowledge.soft_labels[0]


class Swapped(FusionStrategy):
    """Gives the last row to the first client, and so on."""

    def fuse(self, knowledge):
        """Return a personal teacher that belongs to a place, not to a client."""
        places = torch.linspace(0.1, 0.9, len(knowledge.clients)).view(-1, 1, 1)
        mean = knowledge.soft_labels.mean(dim=0)
        return places * knowledge.soft_labels + (1 - places) * mean


class Lonely(Mean):
    """Divides by the number of the others."""

    def fuse(self, knowledge):
        """Return 0 / 0 for a client alone."""
        others = len(knowledge.clients) - 1
        mean = super().fuse(knowledge)
        return mean * (torch.tensor(float(others)) / others)


class ByRow(FusionStrategy):
    """Remembers by row who is who."""

    def fuse(self, knowledge):
        """Weight rows by what the row remembers."""
        rows = len(knowledge.clients)
        known = self.state.get("known", torch.zeros(rows))[:rows]
        return (known.softmax(dim=0).view(-1, 1, 1) * knowledge.soft_labels).sum(dim=0)

    def refine(self, plan, knowledge, teacher):
        """Remember a number for each row."""
        self.state["known"] = 5 * knowledge.soft_labels[:, 0, 0]
        return teacher


class Greedy(Mean):
    """Cannot do without any client of the first round."""

    def fuse(self, knowledge):
        """Raise if somebody is missing."""
        assert len(knowledge.clients) >= self.state.get("most", torch.tensor(0)), "who is missing?"
        return super().fuse(knowledge)

    def refine(self, plan, knowledge, teacher):
        """Remember how many there were."""
        self.state["most"] = torch.tensor(len(knowledge.clients))
        return teacher


class Trusting(Mean):
    """Looks at nothing that it is sent."""

    def round(self, plan):
        """Ask, and nod."""
        outcome = Outcome()
        options = plan.options(upload=True, kind="soft_labels", temperature=1.0)
        request = dict.fromkeys(plan.cohort, RecordDict({"config": options}))
        outcome.take(plan.fleet.call("train.fit", request, plan.number))
        return outcome


class Noisy(Mean):
    """Draws from the global generator."""

    def fuse(self, knowledge):
        """Return the mean and some noise."""
        return (super().fuse(knowledge) + 0.01 * torch.rand(10)).softmax(dim=-1)


class Seeding(Mean):
    """Seeds the global generator: always the same noise, for everybody else too."""

    def fuse(self, knowledge):
        """Return the mean and some noise."""
        torch.manual_seed(0)
        return (super().fuse(knowledge) + 0.01 * torch.rand(10)).softmax(dim=-1)


class Clock(Mean):
    """Depends on when it is asked."""

    def fuse(self, knowledge):
        """Return the mean, sharpened by the time."""
        return (super().fuse(knowledge) * (time.perf_counter() % 1000)).softmax(dim=-1)


class Vandal(Mean):
    """Works in place."""

    def fuse(self, knowledge):
        """Return the mean of squares."""
        knowledge.values.square_()
        return super().fuse(knowledge)


class Diary(Mean):
    """Keeps state in fuse, which may run elsewhere."""

    def fuse(self, knowledge):
        """Return the mean, and note it."""
        self.state["last"] = super().fuse(knowledge)
        return self.state["last"]


class Counting(Mean):
    """Keeps something beside its state."""

    calls = 0

    def fuse(self, knowledge):
        """Return a mean that gets flatter with every call."""
        self.calls += 1
        return (super().fuse(knowledge) / self.calls).softmax(dim=-1)


class NotPerSample(Mean):
    """Says that samples are independent, and looks at all of them."""

    per_sample = True

    def fuse(self, knowledge):
        """Return the mean against the mean of all samples."""
        mean = super().fuse(knowledge)
        return (mean - mean.mean(dim=0)).softmax(dim=-1)


class Forgetful(Mean):
    """Keeps what it needs where no checkpoint finds it."""

    rounds = 0

    def fuse(self, knowledge):
        """Return a mean that gets flatter with every round."""
        return (super().fuse(knowledge) / (1 + self.rounds)).softmax(dim=-1)

    def refine(self, plan, knowledge, teacher):
        """Count the rounds."""
        self.rounds += 1
        return teacher


class Slow(Mean):
    """Takes its time."""

    def fuse(self, knowledge):
        """Return the mean, later."""
        started = time.process_time()
        while time.process_time() - started < 0.2:
            pass
        return super().fuse(knowledge)


class Raises(Mean):
    """Raises."""

    def fuse(self, knowledge):
        """Raise."""
        raise ZeroDivisionError("oops")


class Forgotten(FusionStrategy):
    """Tells those who are there what private training needs, and nobody who comes later."""

    exchange = "class_logits"

    def fuse(self, knowledge):
        """Return the means over those who have a class."""
        return knowledge.values.sum(dim=0) / knowledge.mask.sum(dim=0).clamp_min(1).unsqueeze(1)


class Stale(ParameterFusion):
    """Sends the shared model once; whoever comes back goes on with what it has."""

    def before_fit(self, plan):
        """Send it in the first round and to newcomers."""
        records = super().before_fit(plan)
        known = getattr(self, "known", set())
        self.known = known | set(plan.cohort)
        return {client: record for client, record in records.items() if client not in known}


class Intrusive(Mean):
    """Has clients train that were not drawn."""

    def after_round(self, plan, outcome):
        """Train the first client that is not in the round."""
        absent = sorted(set(range(plan.server.clients)) - set(plan.cohort))[:1]
        plan.fleet.call("train.fit", dict.fromkeys(absent, RecordDict()), plan.number)


class Decorated(Mean):
    """Has a parameter that it makes no use of."""

    def __init__(self, used=1.0, spare=1.0, **base):
        super().__init__(**base)
        self.used = used

    def fuse(self, knowledge):
        """Return a mean, the first client weighing more or less."""
        values = knowledge.soft_labels
        return (self.used * values[:1].sum(dim=0) + values.sum(dim=0)) / (len(values) + self.used)


class Honest(Decorated):
    """Says so."""

    def unused(self, kind):
        """Name the parameter."""
        return super().unused(kind) | {"spare": "has no effect; leave it out"}
