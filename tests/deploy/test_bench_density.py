"""What the benchmark makes of what calls cost."""

from deploy.local.bench.figures import Figure, Measured
from deploy.local.bench.process_tree import Cost
from deploy.local.bench.rows import density
from deploy.local.bench.subjects import AGENTS


def test_cpu_is_that_of_processes_which_live() -> None:
    """One that began meanwhile counts whole, one that ended counts for nothing."""
    before = Cost(processes=2, pss_mb=0, cpu_s={1: 10.0, 2: 5.0})
    after = Cost(processes=2, pss_mb=0, cpu_s={1: 11.0, 3: 0.5})
    assert after.cpu_percent_since(before, seconds=10) == 15.0


def test_a_verdict_tells_how_few_the_other_serves() -> None:
    """Memory of sixteen calls beside that of ten is no ratio of equals, and says so."""

    def measured(subject: str, served: float) -> Measured:
        figures = {density.MEMORY: Figure("MB", (served * 10,)), density.SERVED: Figure("calls", (served,))}
        return Measured(subject=subject, case=density.case_of(16, "silent"), figures=figures)

    memory = density.judge([measured(density.OURS.name, 16), measured(AGENTS, 10)])[0]
    assert memory.value == 1.6
    assert "serves 10" in memory.text
