//! Links, relay paths and their costs, without IO.
