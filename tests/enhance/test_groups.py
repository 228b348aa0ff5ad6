"""What hangs together, against SciPy's own graphs and labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from longexposure.enhance.groups import connected, groups_of


@pytest.mark.parametrize("count", [1, 2, 30, 3000])
@pytest.mark.parametrize("edges", [0, 1, 20, 2000])
def test_components_are_those_of_scipy(count, edges):
    rng = np.random.default_rng(count + edges)
    one, other = rng.integers(0, count, (2, edges))
    total, component = connected(np.stack([one, other]), count)
    graph = sparse.coo_array((np.ones(edges, bool), (one, other)), shape=(count, count))
    expected_total, expected = connected_components(graph, directed=False)
    assert total == expected_total
    np.testing.assert_array_equal(component, expected)


def test_a_long_chain_in_any_order_is_one():
    order = np.random.default_rng(0).permutation(100_000)
    assert connected(np.stack([order[:-1], order[1:]]), len(order))[0] == 1


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_groups_are_the_labels_of_scipy(share):
    marked = np.random.default_rng(0).random((60, 37)) < share
    places = np.stack(np.nonzero(marked))
    label, count = ndimage.label(marked, np.ones((3, 3)))
    groups = groups_of(places, marked.shape[1])
    assert len(groups) == count
    found = np.zeros(marked.shape, int)
    for number, group in enumerate(groups, 1):
        found[tuple(places[:, group])] = number
    np.testing.assert_array_equal(found, label)
