//! The crate from outside: streams in through the decoder, streams out through a sink that accepts what it likes.

#[cfg(test)]
mod datagrams;
#[cfg(test)]
mod drops;
#[cfg(test)]
mod fetches;
#[cfg(test)]
mod filters;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod holes;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod splice;
#[cfg(test)]
mod support;
