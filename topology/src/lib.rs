//! Links between PoPs as they are measured: names, round-trip estimates, and whether a peer is to be trusted with
//! media now. Pure: time and samples come in, judgements go out.
//!
//! ```text
//! probe answer -> rtt::Estimator (peak-EWMA)      liveness::Monitor -> Up | Suspect | Down
//! ```
//!
//! ```
//! use sluice_topology::{PopId, rtt};
//! use std::time::Duration;
//!
//! let pop: PopId = "fra1".parse()?;
//! let mut rtt = rtt::Estimator::default();
//! rtt.sample(Duration::from_millis(20));
//! assert_eq!(rtt.current(), Some(Duration::from_millis(20)));
//! assert_eq!(pop.as_str(), "fra1");
//! # Ok::<(), sluice_topology::pop::PopIdError>(())
//! ```

pub mod liveness;
pub mod pop;
pub mod rtt;

pub use pop::PopId;
