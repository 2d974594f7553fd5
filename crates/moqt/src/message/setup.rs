//! SETUP and its options (draft-18 9.3).
