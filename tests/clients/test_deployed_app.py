"""Deployed, the same app reads the same JSON from Flower's run config."""

from fedkd.clients.app import deployed
from flwr.app import Context, Message, RecordDict

from fedkd import simulate
from fedkd.engine.fleet import Fleet
from fedkd.engine.host import Host
from fedkd.engine.inline import InlineGrid
from fedkd.flower import identity
from fedkd.knowledge import to_tensor


def test_the_deployed_app_trains_as_the_simulated_one(tmp_path):
    run = simulate("local", clients=3, rounds=1, engine="inline", run_dir=str(tmp_path / "run"))
    spec = (run.run_dir / "spec.json").read_text()
    host = Host(lambda: deployed, range(3), 3)
    for node, context in host.contexts.items():
        config = {"fedkd-spec": spec}
        host.contexts[node] = Context(1, node, context.node_config, RecordDict(), config)
    with identity():
        fleet = Fleet(InlineGrid(host), 3)
        fleet.hello()
        fleet.call("train.fit", dict.fromkeys(range(3), RecordDict()), 1)
        replies = fleet.call("query.snapshot", dict.fromkeys(range(3), RecordDict()), 1)
    for reply in replies:
        model = run.model(reply.client).state_dict()
        for name, array in reply.ok.array_records["arrays"].items():
            assert to_tensor(array).equal(model[name])
    assert isinstance(replies[0].message, Message)
