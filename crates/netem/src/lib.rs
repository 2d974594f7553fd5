//! Delay, loss and faults: one impairment model and the engines that apply it to real packets.
