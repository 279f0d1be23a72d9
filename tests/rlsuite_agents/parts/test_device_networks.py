"""What runs on a device, run on a CPU: held to networks by hand; on no device: what it touches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from registry.errors import DivergenceError
from rlsuite_agents.parts.actor_critic import ActorCritic, Experience, LossSettings
from rlsuite_agents.parts.convolution import NatureCNN, Rows
from rlsuite_agents.parts.device import fetched, reproducible
from rlsuite_agents.parts.device_networks import DeviceActorCritic, DeviceQNetwork
from rlsuite_agents.parts.device_parameters import DeviceAdam, DeviceParameters, DeviceRMSProp
from rlsuite_agents.parts.heads import EVERYTHING, head_of
from rlsuite_agents.parts.images import Image
from rlsuite_agents.parts.optimizers import Adam, RMSProp, adam, finite_norms, rmsprop
from rlsuite_agents.parts.q_network import QNetwork
from rlsuite_agents.parts.replay import Batch

CPU, META = torch.device("cpu"), torch.device("meta")
IMAGE = Image(36, 40, 3, channels_first=False)
N, D = 24, 5
DISCRETE, CONTINUOUS = spaces.Discrete(4), spaces.Box(-1, 1, (2,))
LOSS = LossSettings(0.2, 0.3, 0.01, 0.5, True)


def rng(seed=0):
    return np.random.default_rng(seed)


def policies(space):
    """By hand and on a device, from the same seed."""
    head = head_of(space, "A")
    rest = (head, (16, 8), "tanh")
    hand = ActorCritic(D, *rest, rng())
    return hand, DeviceActorCritic(Rows(D), *rest, rng(), CPU)


def seeing(space, device=CPU):
    return DeviceActorCritic(NatureCNN(IMAGE), head_of(space, "A"), (), "tanh", rng(), device)


def experience(space, *, images=False, masked=False):
    r = rng(1)
    features = r.normal(size=(N, D)).astype(np.float32)
    if images:
        features = r.integers(0, 256, (N, 36 * 40 * 3), dtype=np.uint8)
    discrete = isinstance(space, spaces.Discrete)
    mask = r.random((N, 4)) < 0.5
    mask[:, 1] = True
    actions = r.integers(4, size=N) if discrete else r.normal(size=(N, 2)).astype(np.float32)
    if masked:
        actions[:] = 1
    columns = (r.normal(size=N).astype(np.float32) for _ in range(4))
    return Experience(features, mask if masked else EVERYTHING, actions, *columns)


def batch(*, images=False, masked=False):
    r = rng(2)
    floats = [r.normal(size=shape).astype(np.float32) for shape in ((N, D), (N,), (N, D))]
    if images:
        floats[0], floats[2] = (r.integers(0, 256, (N, 4320), dtype=np.uint8) for _ in "xy")
    mask = r.random((N, 4)) < 0.5
    mask[:, 1] = True
    return Batch(
        *(np.arange(N), floats[0], r.integers(4, size=N), floats[1]),
        *(np.full(N, 0.9, np.float32), floats[2], mask if masked else EVERYTHING),
        np.ones(N, np.float32),
    )


# --- against networks by hand -------------------------------------------------------------------


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
@pytest.mark.parametrize("masked", [False, True])
def test_a_policy_on_a_device_is_the_one_by_hand(space, masked):
    hand, device = policies(space)
    np.testing.assert_array_equal(hand.parameters.vector, device.parameters.vector)
    e = experience(space, masked=masked and space is DISCRETE)
    rows = rng(3).permutation(N)[:10]
    sums = hand.gradient(e, rows, LOSS)
    found = device.gradient(e.placed(device.place), device.place(rows), LOSS)
    np.testing.assert_allclose(fetched([found])[0], sums, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(device.parameters.gradient, hand.parameters.gradient, atol=1e-5)
    for of in ("outputs_by_row", "values_by_row", "values_of"):
        mine, theirs = (getattr(one, of)(e.features) for one in (hand, device))
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    (actions, log_prob), (same, close) = (
        one.act(e.features, e.mask, rng(4)) for one in (hand, device)
    )
    np.testing.assert_allclose(actions, same, atol=1e-5)
    np.testing.assert_allclose(log_prob, close, atol=1e-4)


@pytest.mark.parametrize(
    ("double", "dueling", "masked"), list(itertools.product((False, True), repeat=3))
)
def test_a_q_network_on_a_device_is_the_one_by_hand(double, dueling, masked):
    settings = {"tau": 0.25, "double": double, "dueling": dueling}
    hand = QNetwork(D, 4, (16, 8), "relu", rng=rng(), **settings)
    device = DeviceQNetwork(Rows(D), 4, (16, 8), "relu", rng=rng(), device=CPU, **settings)
    for name in ("parameters", "target"):
        mine, theirs = (getattr(one, name).vector for one in (hand, device))
        np.testing.assert_array_equal(mine, theirs)
    for one in (hand, device):
        one.parameters.put(one.parameters.vector * 1.5)
        one.follow()
    np.testing.assert_allclose(hand.target.vector, device.target.vector, rtol=1e-6)
    b = batch(masked=masked)
    (sums, errors), (found, close) = hand.gradient(b), device.gradient(b)
    np.testing.assert_allclose(sums, found, atol=1e-5)
    np.testing.assert_allclose(errors, close, atol=1e-5)
    np.testing.assert_allclose(device.parameters.gradient, hand.parameters.gradient, atol=1e-5)
    np.testing.assert_allclose(hand.values(b.features), device.values(b.features), atol=1e-5)


@pytest.mark.parametrize("max_norm", [0.5, np.inf])
@pytest.mark.parametrize(
    ("make", "hand_type", "device_type"),
    [(adam, Adam, DeviceAdam), (rmsprop, RMSProp, DeviceRMSProp)],
)
def test_optimisers_on_a_device_are_those_by_hand(max_norm, make, hand_type, device_type):
    hand, device = (network.parameters for network in policies(DISCRETE))
    optimisers = make(hand), make(device)
    assert list(map(type, optimisers)) == [hand_type, device_type]
    for seed in range(20):
        gradient = rng(seed).normal(size=len(hand.vector)).astype(np.float32)
        for parameters in (hand, device):
            parameters.put_gradient(gradient)
        norms = [float(optimiser.step(0.01, max_norm)) for optimiser in optimisers]
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    np.testing.assert_allclose(hand.vector, device.vector, atol=1e-5)
    mine, theirs = (optimiser.arrays() for optimiser in optimisers)
    assert {k: (v.shape, v.dtype) for k, v in mine.items()} == {
        k: (v.shape, v.dtype) for k, v in theirs.items()
    }
    for name, array in mine.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("make", [adam, rmsprop])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(make, wrong):
    parameters = DeviceParameters({"a": (2, 2)}, CPU)
    parameters.put(np.arange(4, dtype=np.float32))
    optimiser = make(parameters)
    parameters.put_gradient(np.ones(4, np.float32))
    optimiser.step(0.1)
    before, arrays = parameters.vector.copy(), {k: v.copy() for k, v in optimiser.arrays().items()}
    parameters.put_gradient(np.array([1, wrong, 0, 0], np.float32))
    norm = optimiser.step(0.1, 0.5)
    np.testing.assert_array_equal(parameters.vector, before)
    for name, array in optimiser.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    with pytest.raises(DivergenceError, match=r"the norm of the gradient is (nan|inf)"):
        finite_norms(fetched([norm]))


def test_gradients_are_cleared_and_lie_in_one_vector():
    _, device = policies(DISCRETE)
    e = experience(DISCRETE).placed(device.place)
    rows = device.place(np.arange(N))
    device.gradient(e, rows, LOSS)
    once = device.parameters.gradient.copy()
    device.gradient(e, rows, LOSS)
    np.testing.assert_array_equal(device.parameters.gradient, once)
    parts = [leaf.grad.flatten() for leaf in device.parameters.leaves.values()]
    np.testing.assert_array_equal(torch.cat(parts).numpy(), once)


# --- images ---------------------------------------------------------------------------------------


def test_an_image_has_the_same_bits_in_any_batch():
    network, x = seeing(DISCRETE), experience(DISCRETE, images=True).features[:5]
    together = network.outputs_by_row(x)
    alone = np.concatenate([network.outputs_by_row(row[None]) for row in x])
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together, axis=0)) == 5
    assert network.outputs_by_row(x[:0]).shape == (0, 4)
    assert network.values_of(x[:0]).shape == (0,)


def test_policy_and_value_share_the_convolutions():
    network = seeing(CONTINUOUS)
    e = experience(CONTINUOUS, images=True).placed(network.place)
    network.gradient(e, network.place(np.arange(N)), LOSS)
    assert list(network.parameters.leaves)[:2] == ["conv0.weight", "conv0.bias"]
    norms = {name: float(leaf.grad.norm()) for name, leaf in network.parameters.leaves.items()}
    assert min(norms.values()) > 0
    quiet = LossSettings(0.2, 0.3, 0.0, 0.0, True)  # no value loss: from the policy alone
    network.gradient(e, network.place(np.arange(N)), quiet)
    assert 0 < float(network.parameters.leaves["conv0.weight"].grad.norm()) < norms["conv0.weight"]
    assert not network.parameters.leaves["value.weight0"].grad.any()


def test_many_images_are_evaluated_in_parts():
    network = seeing(DISCRETE)
    x = experience(DISCRETE, images=True).features
    whole = network.values_of(x)
    network.body.chunk = 7
    np.testing.assert_allclose(network.values_of(x.reshape(4, 6, -1)).ravel(), whole, atol=1e-5)


# --- what a device would see ----------------------------------------------------------------------


class OnOneDevice(TorchDispatchMode):
    """Fails where an operation mixes devices, as CUDA does, or moves anything between them."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        def devices(values):
            tensors = (t for t in tree_leaves(values) if isinstance(t, torch.Tensor))
            return {t.device.type for t in tensors if t.dim() or t.device.type != "cpu"}

        answer = func(*args, **(kwargs or {}))
        met = devices((args, kwargs)) | devices(answer)
        assert met <= {"meta"}, f"{func} meets {met}"
        return answer


def test_the_guard_notices_what_it_is_for():
    with OnOneDevice():
        there = torch.zeros(3, device="meta")
        (there + 1).sum()
        for wrong in (lambda: there @ torch.ones(3), lambda: torch.ones(3).to("meta")):
            with pytest.raises((AssertionError, RuntimeError)):
                wrong()
        with pytest.raises(RuntimeError, match="meta"):
            there.sum().item()


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
@pytest.mark.parametrize("make", [adam, rmsprop])
def test_an_update_of_a_policy_stays_on_its_device(images, space, make):
    """On the device "meta", where tensors have no numbers that one could ask for."""
    head = head_of(space, "A")
    body = NatureCNN(IMAGE) if images else Rows(D)
    network = DeviceActorCritic(body, head, (8,), "tanh", rng(), META)
    optimiser = make(network.parameters)
    e = experience(space, images=images, masked=space is DISCRETE).placed(network.place)
    rows = network.place(np.arange(N))
    with OnOneDevice():
        sums = network.gradient(e, rows[:10], LOSS)
        norm = optimiser.step(1e-3, 0.5)
    assert (sums.shape, norm.shape, sums.device, norm.device) == ((5,), (), META, META)


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
def test_an_update_of_q_values_stays_on_its_device(images, dueling):
    settings = {"tau": 0.5, "double": True, "dueling": dueling, "rng": rng(), "device": META}
    body = NatureCNN(IMAGE) if images else Rows(D)
    network = DeviceQNetwork(body, 4, (8,), "relu", **settings)
    optimiser = adam(network.parameters)
    b = batch(images=images, masked=True).placed(network.place)
    with OnOneDevice():
        told = network.loss_gradient(b)
        optimiser.step(1e-3, 10.0)
        network.follow()
    assert (told.shape, told.device) == ((4 + N,), META)


def test_reproducible_arithmetic_ends_as_it_was_found():
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    with reproducible(CPU):
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == before
    with reproducible(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == before


def test_threads_are_one_for_rows_and_the_users_for_images():
    found = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for network, threads in ((policies(DISCRETE)[1], 1), (seeing(DISCRETE), 2)):
            with network.learning():
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(found)
