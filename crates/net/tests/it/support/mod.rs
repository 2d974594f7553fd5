//! What the loop's tests share: certificates, an app that does as told, and a network of virtual time.

pub(crate) mod app;
pub(crate) mod certs;
pub(crate) mod world;
