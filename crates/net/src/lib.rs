//! The shard loop: sockets, clock, QUIC and timers around pure cores.
