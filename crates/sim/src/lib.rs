//! The World: relays, origins, publishers and viewers in one thread and virtual time.
