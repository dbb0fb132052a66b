"""What the page of FedProto's Table 1 says beside its numbers."""

SHORT = """A tenth of the rounds, one seed, n = 3: no verdict on the claim follows from it. What the
trap does is seen all the same.
"""
TRAP = """**The trap.** The published code counts right answers and all answers without ever
starting anew: the number that it keeps for a client is that of all clients up to this one, by the
head and by prototypes together. The deviation of such numbers is one of running means.
"""
TRAP_AGAIN = """**The trap.** The same accuracies per client, and as the published code counts,
without ever starting anew: all clients up to this one, by the head and by prototypes together.
"""
HOW = """## How this was made

From [a row a run](rows/fedproto_table1.csv), which has every client's accuracy. *Over clients*:
mean and sample deviation over the 20 clients, each on the test pictures of its own classes; means
over seeds. *Over seeds*: of those means, with their number. By the head a client chooses among all
ten classes, by prototypes among its own, as in the published code. CPU seconds are a run's on one
core of a virtual Intel Xeon with AVX-512, with other work beside it: all 45 runs would take some
six hours of one. This goes on with what is missing and writes this page anew:

<!-- not run: takes hours, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.fedproto_table1 --quick
python -m fedkd.experiments.reproduce.fedproto_table1 --seeds 3 --jobs 2
python -m fedkd.experiments.reproduce.fedproto_table1_page
```
"""
