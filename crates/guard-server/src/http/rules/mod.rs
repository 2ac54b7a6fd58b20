//! The rules over HTTP: agents fetch them, people and programs change them.

pub(super) mod changes;
mod fields;
mod serve;

pub(super) use self::serve::get;
