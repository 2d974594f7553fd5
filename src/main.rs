//! `sluice`: one program for every role. Dispatch only.
fn main() {}
