//! What the loop's tests share: certificates, an app that does as told, and a network of virtual time.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod app;
pub(crate) mod certs;
pub(crate) mod world;
