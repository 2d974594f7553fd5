//! One relay node: sessions x tracks x topology, without IO.
