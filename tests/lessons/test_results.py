"""The measured tables kept in the repository are whole, and say what their README says."""

import pytest
import recovery

import labutils as lab


@pytest.mark.parametrize("kind", recovery.STUDIES)
def test_every_row_is_there(kind):
    table = lab.load_comparison(recovery.RESULTS / f"{kind}.csv")
    assert table["error"].eq("").all()
    assert table["part"].eq("test").all()
    assert table["images"].eq(10_000).all()
    expected = {("unpruned", 0.0)} | {
        (method, amount) for method, _, amounts in recovery.STUDIES[kind] for amount in amounts
    }
    seeds = table.groupby(["method", "amount"])["seed"].apply(sorted)
    assert set(seeds.index) == expected
    assert all(found == list(recovery.SEEDS) for found in seeds)


@pytest.mark.parametrize("kind", recovery.STUDIES)
def test_readme_has_the_means(kind):
    readme = (recovery.RESULTS / "README.md").read_text(encoding="utf-8")
    assert "\n".join(recovery.lines(kind)) in readme


@pytest.mark.slow
def test_unpruned_networks_are_those_that_ship(digits):
    table = lab.load_comparison(recovery.RESULTS / "SimpleCNN.csv")
    for row in table[table["method"] == "unpruned"].itertuples():
        found = lab.evaluate(lab.load_pretrained(row.seed), digits.test).accuracy
        assert abs(found - row.accuracy) < 0.0005  # another machine rounds otherwise
