"""Copies of a network with or without its optional parts."""

from dataclasses import replace

from eva_helpers.model.net import MaskDepthNet


def with_sizes(net: MaskDepthNet) -> MaskDepthNet:
    """A `sized` copy of an ordinary network; both sizes start with its layers and its outputs."""
    twin = MaskDepthNet(replace(net.config, sized=True))
    weights = net.state_dict()
    ordinary = {
        name: name.replace(".small.", ".").replace(".large.", ".") for name in twin.state_dict()
    }
    twin.load_state_dict({name: weights[source] for name, source in ordinary.items()})
    return twin.train(net.training)


def with_refiner(net: MaskDepthNet, channels: int) -> MaskDepthNet:
    """A copy of a network that has a new refiner of so many channels."""
    twin = MaskDepthNet(replace(net.config, refiner=channels))
    twin.load_state_dict(twin.state_dict() | net.state_dict())
    return twin.train(net.training)
