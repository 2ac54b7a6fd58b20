//! The rows that are inserted.
