//! Bytes of an authorization token (draft-18 9.2.2).
