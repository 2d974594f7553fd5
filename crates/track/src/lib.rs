//! Track logs, cursors, fan-out and drop policy, without IO.
