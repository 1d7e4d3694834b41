"""What the demo is made of, without a lab: broken builds, the ledger, the deck of faults."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

import pytest

from cli.demo import SCENARIOS
from lab.demo import broken, faults, scenarios
from lab.demo.inside import ledger


@pytest.mark.parametrize("name", sorted(broken.BREAKS))
def test_a_broken_build_differs_from_the_checkout_where_it_says(name: str, tmp_path: Path) -> None:
    built = broken.build(name, tmp_path / "build")
    changed = {edit.file for edit in broken.BREAKS[name].edits}
    for file in (built / "chalicelib").rglob("*.py"):
        relative = file.relative_to(built)
        same = filecmp.cmp(file, broken.CHECKOUT / relative, shallow=False)
        assert same != (str(relative) in changed), relative


def test_the_ledger_keeps_numbers_in_turn_over_its_volumes(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
    book = ledger.Book([str(place) for place in places])
    for number in range(1, 5):
        book.enter(number)
    assert (places[0] / "ledger").read_text() == "2\n4\n"
    assert (places[1] / "ledger").read_text() == "1\n3\n"


def test_a_line_torn_by_a_power_cut_does_not_swallow_the_next(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("10\n1")
    ledger.Book([str(tmp_path)]).enter(12)
    assert (tmp_path / "ledger").read_text() == "10\n1\n12\n"


def test_a_ledger_that_cannot_keep_a_number_ends_instead_of_acknowledging(tmp_path: Path) -> None:
    book = ledger.Book([str(tmp_path)])
    child = os.fork()
    if child == 0:
        book._files[0] = os.open("/dev/full", os.O_WRONLY)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        book.enter(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_every_scenario_has_a_name_of_its_own_and_is_found_by_it() -> None:
    names = [each.name for each in scenarios.ALL]
    assert len(set(names)) == len(names)
    for each in scenarios.ALL:
        assert each in scenarios.named(each.name)
    assert len(scenarios.named("partition")) == len(scenarios.named("reboot")) == 2
    assert scenarios.named("no such scenario") == ()
    assert set(SCENARIOS.split(", ")) == {name.split("-")[0] for name in names}


def test_every_kind_of_fault_has_a_name_of_its_own() -> None:
    assert len({kind.name for kind in faults.KINDS}) == len(faults.KINDS) >= 10
