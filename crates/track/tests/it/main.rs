//! The crate from outside: streams in through the decoder, streams out through a sink that accepts what it likes.

mod datagrams;
mod drops;
mod fetches;
mod filters;
mod forwarding;
mod holes;
mod limits;
mod malformed;
mod splice;
mod support;
