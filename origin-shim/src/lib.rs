//! Stands before a regional origin: terminates trunks, homes namespaces, sources and window.
