//! The measuring command line: publish, watch, load, ping, diff.
